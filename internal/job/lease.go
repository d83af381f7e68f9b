package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lockfast/lockfast/internal/meta"
)

// Lease is a worker's right to a running job. It ends when the job does, or when no heartbeat came for a while.
type Lease struct {
	Kind  Kind
	JobID string
	token string
}

// Verdict is what became of an attempt to claim a job.
type Verdict int

// The verdicts. All but Busy and Taken come with a change of the row.
const (
	Claimed Verdict = iota + 1 // the job is the caller's; it is RUNNING, or ABORTING when it was stopped before its worker was lost
	Busy                       // another backup or copy of the resource runs, or it is too early; the job is enqueued again when that is over
	Taken                      // it has ended, or another worker has it
	TooLate                    // its start window has passed; it is EXPIRED now
	GivenUp                    // its worker was lost too often; it is FAILED now, and what it left behind has to go
)

// Errors of workers.
var (
	// ErrLost says that the lease is over: somebody else has the job now, or it has ended.
	ErrLost = errors.New("lease of the job is over")
	// ErrAborting says that the job was stopped, so it cannot complete.
	ErrAborting = errors.New("job was stopped")
	// ErrBusy says that another backup or copy of the resource was claimed at the same moment. It means what [Busy] does.
	ErrBusy = errors.New("another backup or copy of the resource runs")
)

// ClaimBackupTx claims a backup job. A caller that also locks the vault's row does so first. An error that wraps
// [ErrNotFound] says that the job does not exist.
func (s *Service) ClaimBackupTx(ctx context.Context, tx *meta.Tx, id string) (Backup, Lease, Verdict, error) {
	b, err := backupTx(ctx, tx, id, tx.ForUpdate())
	if err != nil {
		return b, Lease{}, 0, err
	}
	if b.State == Created {
		if !s.now().Before(b.StartBy) {
			return b, Lease{}, TooLate, s.expireBackup(ctx, tx, b)
		}
		if !b.NotBefore.IsZero() {
			return b, Lease{}, Busy, nil
		}
		if busy, err := resourceBusy(ctx, tx, b.Account, b.ResourceARN); err != nil || busy {
			return b, Lease{}, Busy, err
		}
	}
	waited := b.State == Created
	l, v, err := s.claim(ctx, tx, Backups, id, &b.Status)
	if s.DB.IsDuplicate(err) {
		err = fmt.Errorf("claim backup job %s: %w", id, ErrBusy)
	}
	if err == nil && waited && v == Claimed {
		err = s.takeTurn(ctx, tx, b.Account, b.ResourceARN, id)
	}
	if err == nil && waited && v == Claimed {
		err = startWindow(ctx, tx, &b)
	}
	if v == GivenUp {
		err = errors.Join(err, wakeNext(ctx, tx, b.Account, b.ResourceARN))
	}
	return b, l, v, err
}

// ClaimRestoreTx claims a restore job, as [Service.ClaimBackupTx] does a backup job.
func (s *Service) ClaimRestoreTx(ctx context.Context, tx *meta.Tx, id string) (Restore, Lease, Verdict, error) {
	r, err := restoreTx(ctx, tx, id, tx.ForUpdate())
	if err != nil {
		return r, Lease{}, 0, err
	}
	l, v, err := s.claim(ctx, tx, Restores, id, &r.Status)
	return r, l, v, err
}

// claim takes a job that waits, or whose worker was lost. The row is locked; st is brought up to date.
func (s *Service) claim(ctx context.Context, tx *meta.Tx, k Kind, id string, st *Status) (Lease, Verdict, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return Lease{}, 0, err
	}
	var (
		held  string
		until int64
	)
	if err := tx.QueryRow(ctx, "SELECT lease, lease_until FROM "+table(k)+" WHERE id = ?", id).Scan(&held, &until); err != nil {
		return Lease{}, 0, fmt.Errorf("read lease of job %s: %w", id, err)
	}
	if st.State.Over() || held != "" && until > micros(now) {
		return Lease{}, Taken, nil
	}
	if st.Attempts >= MaxAttempts {
		st.State, st.Message = Failed, fmt.Sprintf("The job was interrupted %d times.", st.Attempts)
		return Lease{}, GivenUp, s.end(ctx, tx, Lease{Kind: k, JobID: id, token: held}, st.State, st.Message)
	}
	if st.State != Aborting {
		st.State = Running
	}
	if st.StartedAt.IsZero() {
		st.StartedAt = s.now()
	}
	st.Attempts++
	l := Lease{Kind: k, JobID: id, token: uuid.NewString()}
	return l, Claimed, exec1(ctx, tx, "UPDATE "+table(k)+" SET state = ?, started_at = ?, attempts = ?, lease = ?, lease_until = ? WHERE id = ?",
		st.State, micros(st.StartedAt), st.Attempts, l.token, micros(now.Add(s.Lease)), id)
}

// Signal tells a worker how to go on.
type Signal int

// The signals.
const (
	GoOn      Signal = iota + 1
	Stop             // abort: a user has stopped the job
	OutOfTime        // expire: the completion window has passed
	Leave            // the lease is lost: leave the job alone
)

// Heartbeat writes how far a job has come, extends its lease and tells what is wanted of the worker. An error means
// that it is not known whether the lease was extended.
func (s *Service) Heartbeat(ctx context.Context, l Lease, p Progress) (signal Signal, err error) {
	err = s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		res, err := tx.Exec(ctx, "UPDATE "+table(l.Kind)+` SET items = ?, bytes_read = ?, bytes_stored = ?, total_bytes = ?, lease_until = ?
			WHERE id = ? AND lease = ? AND lease <> ''`, p.Items, p.BytesRead, p.BytesStored, p.TotalBytes, micros(now.Add(s.Lease)), l.JobID, l.token)
		if err != nil {
			return fmt.Errorf("extend lease of job %s: %w", l.JobID, err)
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			signal = Leave
			return err
		}
		signal, err = s.wanted(ctx, tx, l)
		return err
	})
	return signal, err
}

func (s *Service) wanted(ctx context.Context, tx *meta.Tx, l Lease) (Signal, error) {
	var (
		state  State
		expire time.Time
	)
	err := tx.QueryRow(ctx, "SELECT state, expire_by FROM "+table(l.Kind)+" WHERE id = ?", l.JobID).Scan(&state, at{&expire})
	switch {
	case err != nil:
		return 0, fmt.Errorf("read state of job %s: %w", l.JobID, err)
	case state == Aborting:
		return Stop, nil
	case !expire.IsZero() && !s.now().Before(expire):
		return OutOfTime, nil
	}
	return GoOn, nil
}

// Release gives a job back that the worker cannot finish now, because the server ends. It is started again without
// counting as interrupted.
func (s *Service) Release(ctx context.Context, l Lease) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE "+table(l.Kind)+` SET lease = '', lease_until = 0, attempts = attempts - 1
			WHERE id = ? AND lease = ? AND lease <> ''`, l.JobID, l.token)
		if err != nil {
			return fmt.Errorf("release job %s: %w", l.JobID, err)
		}
		return nil
	})
}

// FailTx ends a job as FAILED, or as ABORTED if it was stopped meanwhile.
func (s *Service) FailTx(ctx context.Context, tx *meta.Tx, l Lease, message string) error {
	return s.endTx(ctx, tx, l, func(now State) (State, string, error) {
		if now == Aborting {
			return Aborted, stoppedMessage, nil
		}
		return Failed, message, nil
	})
}

// AbortTx ends a job that was stopped as ABORTED.
func (s *Service) AbortTx(ctx context.Context, tx *meta.Tx, l Lease) error {
	return s.endTx(ctx, tx, l, func(State) (State, string, error) { return Aborted, stoppedMessage, nil })
}

// ExpireTx ends a job whose completion window has passed as EXPIRED.
func (s *Service) ExpireTx(ctx context.Context, tx *meta.Tx, l Lease) error {
	return s.endTx(ctx, tx, l, func(State) (State, string, error) { return Expired, expiredMessage, nil })
}

// Result is what a job that completed has done.
type Result struct {
	Progress
	Skipped     []Skip // kept up to [MaxSkips]
	SkippedMore int64  // beyond Skipped
	Message     string // for a job that did not do all it should; empty otherwise
	// Of restores:
	CreatedResourceARN, CreatedPath string
}

// CompleteTx ends a job as COMPLETED. The error wraps [ErrAborting] if it was stopped meanwhile.
func (s *Service) CompleteTx(ctx context.Context, tx *meta.Tx, l Lease, r Result) error {
	err := s.endTx(ctx, tx, l, func(now State) (State, string, error) {
		if now == Aborting {
			return "", "", ErrAborting
		}
		return Completed, r.Message, nil
	})
	if err != nil {
		return err
	}
	total := int64(min(len(r.Skipped), MaxSkips))
	err = exec1(ctx, tx, "UPDATE "+table(l.Kind)+" SET items = ?, bytes_read = ?, bytes_stored = ?, total_bytes = ?, skipped = ? WHERE id = ?",
		r.Items, r.BytesRead, r.BytesStored, r.TotalBytes, int64(len(r.Skipped))+r.SkippedMore, l.JobID)
	if err != nil {
		return err
	}
	if l.Kind == Restores {
		err = exec1(ctx, tx, "UPDATE restore_job SET created_resource_arn = ?, created_path = ? WHERE id = ?",
			r.CreatedResourceARN, r.CreatedPath, l.JobID)
		if err != nil {
			return err
		}
	}
	return insertSkips(ctx, tx, l.JobID, r.Skipped[:total])
}

// endTx ends a job of which the caller has the lease, in the state that choose returns for its present one.
func (s *Service) endTx(ctx context.Context, tx *meta.Tx, l Lease, choose func(now State) (State, string, error)) error {
	var (
		now  State
		held string
	)
	err := tx.QueryRow(ctx, "SELECT state, lease FROM "+table(l.Kind)+" WHERE id = ?"+tx.ForUpdate(), l.JobID).Scan(&now, &held)
	if err != nil {
		return fmt.Errorf("end job %s: %w", l.JobID, err)
	}
	if held != l.token || held == "" || now.Over() {
		return fmt.Errorf("end job %s: %w", l.JobID, ErrLost)
	}
	to, message, err := choose(now)
	if err != nil {
		return fmt.Errorf("end job %s: %w", l.JobID, err)
	}
	if err := s.end(ctx, tx, l, to, message); err != nil || l.Kind == Restores {
		return err
	}
	var account, resourceARN string
	err = tx.QueryRow(ctx, "SELECT account, resource_arn FROM "+table(l.Kind)+" WHERE id = ?", l.JobID).Scan(&account, &resourceARN)
	if err != nil {
		return fmt.Errorf("end job %s: %w", l.JobID, err)
	}
	return wakeNext(ctx, tx, account, resourceARN)
}

// end writes the end of a job, and has its parent looked at.
func (s *Service) end(ctx context.Context, tx *meta.Tx, l Lease, to State, message string) error {
	err := exec1(ctx, tx, "UPDATE "+table(l.Kind)+` SET state = ?, status_message = ?, message_category = ?, completed_at = ?,
		lease = '', lease_until = 0 WHERE id = ? AND lease = ?`,
		to, message, Category(to, message), micros(s.now()), l.JobID, l.token)
	if err != nil || l.Kind == Restores {
		return err
	}
	if err := endTurn(ctx, tx, l.JobID); err != nil {
		return err
	}
	if l.Kind == Copies {
		j, err := copyTx(ctx, tx, l.JobID, "")
		if err == nil {
			err = s.announce(ctx, tx, j)
		}
		if err != nil {
			return err
		}
	}
	return wakeParent(ctx, tx, l.Kind, l.JobID)
}

// exec1 runs a statement that must change one row.
func exec1(ctx context.Context, tx *meta.Tx, query string, args ...any) error {
	res, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows changed instead of one by %q", n, query)
	}
	return err
}
