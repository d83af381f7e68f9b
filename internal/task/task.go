// Package task is the noun behind the long maintenance work of a vault that an
// operator asks for: reclaim, verification and repair.
//
// A task runs from the moment it is asked for. A worker claims it with a lease,
// which its reports of progress extend; a task whose lease ran out is started
// again, since every kind may be repeated at any time.
package task

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Lease is how long a worker may be silent before its task is started again.
const Lease = 2 * time.Minute

// keep is how long an ended task can be described.
const keep = 30 * 24 * time.Hour

// ErrNotRunning says that a task has ended or is another worker's.
var ErrNotRunning = errors.New("task is not this worker's to run")

// Vaults knows the vaults.
type Vaults interface {
	// VaultUUID finds a vault by name; a missing one is an API error.
	VaultUUID(ctx context.Context, account, region, name string) (string, error)
}

// Run is the work of a task.
type Run struct {
	TaskID string `json:"task_id"`
}

// Kind names the work.
func (Run) Kind() string { return "task_run" }

// Task is one reclaim, verification or repair.
type Task struct {
	ID              string
	Account, Region string
	VaultUUID       string
	VaultName       string
	Kind            lockfastapi.TaskKind
	Level           int    // of a verification, or of that with which a repair begins, 0 to 3; -1 = only if no damage is known
	SourceUUID      string // of a repair: the vault that may have what is lost; empty = none
	State           lockfastapi.TaskState
	StatusMessage   string
	Done, Total     int64 // bytes; of a repair after its verification, damaged objects
	Report          map[string]string
	CreatedAt       time.Time
	CompletedAt     time.Time // zero while it runs
	Began           time.Time // by the clock of the database; what a worker before this one has done counts from then on
}

// Service is the noun. Its methods may be called concurrently.
type Service struct {
	db     *meta.DB
	vaults Vaults
	now    func() time.Time
}

// New makes the service.
func New(db *meta.DB, vaults Vaults, now func() time.Time) *Service {
	return &Service{db: db, vaults: vaults, now: now}
}

//go:embed migration
var migrations embed.FS

// Migrations returns the tables of the package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "task", Files: migrations}
}

// start records a task and enqueues its work. A verification that runs already is joined: who asks again goes on with it.
func (s *Service) start(ctx context.Context, t Task) (string, error) {
	now := s.now()
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		t.ID = uuid.NewString()
		began, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		if t.Kind == lockfastapi.TaskKindVerification {
			same, err := texts(ctx, tx, "SELECT id FROM task WHERE vault_uuid = ? AND kind = ? AND level = ? AND state = ?",
				t.VaultUUID, string(t.Kind), t.Level, running)
			if err != nil {
				return fmt.Errorf("find running verification: %w", err)
			}
			if len(same) > 0 {
				t.ID = same[0]
				return nil
			}
		}
		_, err = tx.Exec(ctx, "DELETE FROM task WHERE state <> ? AND completed_at < ?",
			string(lockfastapi.TaskStateRunning), meta.Micros(now.Add(-keep)))
		if err != nil {
			return fmt.Errorf("forget old tasks: %w", err)
		}
		_, err = tx.Exec(ctx, `INSERT INTO task (id, account, region, vault_uuid, vault_name, kind, level, source_uuid,
			state, status_message, done, total, report, created_at, completed_at, lease_until, began_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0, '{}', ?, 0, 0, ?)`, t.ID, t.Account, t.Region, t.VaultUUID, t.VaultName,
			string(t.Kind), t.Level, t.SourceUUID, string(lockfastapi.TaskStateRunning), meta.Micros(now), meta.Micros(began))
		if err != nil {
			return fmt.Errorf("record task: %w", err)
		}
		return tx.Enqueue(ctx, Run{TaskID: t.ID}, nil)
	})
	return t.ID, err
}

const columns = `id, account, region, vault_uuid, vault_name, kind, level, source_uuid, state, status_message, done, total, report,
	created_at, completed_at, began_at`

func read(ctx context.Context, tx *meta.Tx, id, lock string) (Task, error) {
	var t Task
	var report string
	var created, completed, began int64
	err := tx.QueryRow(ctx, "SELECT "+columns+" FROM task WHERE id = ?"+lock, id).Scan(&t.ID, &t.Account, &t.Region,
		&t.VaultUUID, &t.VaultName, &t.Kind, &t.Level, &t.SourceUUID, &t.State, &t.StatusMessage, &t.Done, &t.Total, &report,
		&created, &completed, &began)
	if err != nil {
		return Task{}, err
	}
	t.CreatedAt, t.Began = meta.FromMicros(created), meta.FromMicros(began)
	if completed != 0 {
		t.CompletedAt = meta.FromMicros(completed)
	}
	if err := json.Unmarshal([]byte(report), &t.Report); err != nil {
		return Task{}, fmt.Errorf("report of task %s: %w", id, err)
	}
	return t, nil
}

// Claim takes a task for a worker. It returns [ErrNotRunning] for one that has ended or that another worker holds.
func (s *Service) Claim(ctx context.Context, id string) (t Task, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		t, err = read(ctx, tx, id, tx.ForUpdate())
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("task %s: %w", id, ErrNotRunning)
		}
		if err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return s.change(ctx, tx, id, "lease_until = ?", " AND lease_until < ?", meta.Micros(now.Add(Lease)), id, running, meta.Micros(now))
	})
	return t, err
}

const running = string(lockfastapi.TaskStateRunning)

// change updates a task that runs; the arguments end with its id and state, and those of more.
func (s *Service) change(ctx context.Context, tx *meta.Tx, id, set, more string, args ...any) error {
	result, err := tx.Exec(ctx, "UPDATE task SET "+set+" WHERE id = ? AND state = ?"+more, args...)
	if err != nil {
		return fmt.Errorf("update task %s: %w", id, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("task %s: %w", id, ErrNotRunning))
	}
	return nil
}

// Progress records how far a task is, in bytes, and extends the worker's lease.
func (s *Service) Progress(ctx context.Context, id string, done, total int64) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return s.change(ctx, tx, id, "done = ?, total = ?, lease_until = ?", "", done, total, meta.Micros(now.Add(Lease)), id, running)
	})
}

// Complete ends a task with its report.
func (s *Service) Complete(ctx context.Context, id string, report map[string]string) error {
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return s.end(ctx, id, lockfastapi.TaskStateCompleted, "", string(text))
}

// Fail ends a task; the message says why, for the operator. A report may say what was found before.
func (s *Service) Fail(ctx context.Context, id, message string, report map[string]string) error {
	if report == nil {
		report = map[string]string{}
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return s.end(ctx, id, lockfastapi.TaskStateFailed, message, string(text))
}

func (s *Service) end(ctx context.Context, id string, state lockfastapi.TaskState, message, report string) error {
	now := meta.Micros(s.now())
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return s.change(ctx, tx, id, "state = ?, status_message = ?, report = ?, completed_at = ?, lease_until = 0", "",
			string(state), message, report, now, id, running)
	})
}

// Restart enqueues again the tasks whose worker is silent, or, when all is set, every task that runs: a single server
// that starts knows that no worker is left.
func (s *Service) Restart(ctx context.Context, all bool) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		query, args := "SELECT id FROM task WHERE state = ? AND lease_until > 0", []any{running}
		if !all {
			query, args = query+" AND lease_until < ?", append(args, meta.Micros(now))
		}
		ids, err := texts(ctx, tx, query, args...)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.change(ctx, tx, id, "lease_until = 0", "", id, running); err != nil {
				return err
			}
			if err := tx.Enqueue(ctx, Run{TaskID: id}, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func texts(ctx context.Context, tx *meta.Tx, query string, args ...any) (all []string, err error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}
