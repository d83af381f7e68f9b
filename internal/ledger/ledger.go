// Package ledger keeps the store's control tables in SQL: it implements
// [repo.Ledger] for any number of vaults in one database.
//
// Each vault has a row in ledger_vault, which every transaction that changes
// anything locks first. The methods of one vault thus have one order, whichever
// process they come from; those of different vaults do not wait for each other
// on PostgreSQL. What only reads takes a snapshot, which is always the state
// between two transactions of that order.
//
// Whoever waits for a method has often done hours of work before. So a method
// whose transaction fails, or whose answer is lost, is repeated a few times
// within a second, except an Open without a job, which would open another
// session.
//
// Recovery points have a row here and one in the tables of the vaults; they are
// made and removed together by [DB.CommitTx] and [DB.RemoveTx].
package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

//go:embed *.sql
var files embed.FS

// Migrations are the tables of this package.
func Migrations() meta.MigrationSet {
	return meta.MigrationSet{Package: "ledger", Files: files}
}

const (
	defaultLease = 2 * time.Minute
	// defaultRemember is how many revisions back forgotten objects are told.
	defaultRemember = 10_000
	// keepFenced is how long the row of a fenced session whose owner may still
	// be alive is kept.
	keepFenced = 3 * 24 * time.Hour
	// keepEnded is how long the id of a removed recovery point, or of a writer that
	// was forgotten, is kept.
	keepEnded = 100 * 24 * time.Hour
)

// Options are settings of all ledgers of a database.
type Options struct {
	// Lease is how long a session lives without a sign of its owner, by the
	// clock of the database. The default is two minutes.
	Lease time.Duration
	// Remember is how many revisions of a vault back [Vault.Changes] tells what
	// was forgotten; whoever asks for older ones reads all rows anew. The default
	// is ten thousand.
	Remember uint64
	// Shift, for tests, is added to the clock of the database; nil adds nothing.
	Shift func() time.Duration
}

// DB holds the ledgers of the vaults of one database. Its methods may be called
// concurrently.
type DB struct {
	db       *meta.DB
	lease    time.Duration
	remember uint64
	shift    func() time.Duration
}

// New returns the ledgers in db, to which [Migrations] have been applied.
func New(db *meta.DB, o Options) *DB {
	d := &DB{db: db, lease: cmp.Or(o.Lease, defaultLease), remember: cmp.Or(o.Remember, defaultRemember), shift: o.Shift}
	if d.shift == nil {
		d.shift = func() time.Duration { return 0 }
	}
	return d
}

// CreateTx creates the ledger of a new vault, named by its UUID, within the
// transaction that creates the vault.
func (d *DB) CreateTx(ctx context.Context, tx *meta.Tx, vault string) error {
	identity := make([]byte, 16)
	rand.Read(identity) // never fails
	_, err := tx.Exec(ctx, `INSERT INTO ledger_vault (vault, identity, epoch, revision)
		VALUES (?, ?, 0, 0)`, vault, identity)
	if err != nil {
		return fmt.Errorf("create ledger of vault %s: %w", vault, err)
	}
	return nil
}

// DropTx removes the ledger of a vault whose objects are gone from the store.
// Dropping what is absent does nothing.
func (d *DB) DropTx(ctx context.Context, tx *meta.Tx, vault string) error {
	for _, table := range []string{
		"ledger_damage", "ledger_verified", "ledger_round", "ledger_journal", "ledger_ended", "ledger_point", "ledger_object", "ledger_session", "ledger_vault",
	} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE vault = ?", vault); err != nil {
			return fmt.Errorf("drop ledger of vault %s: %w", vault, err)
		}
	}
	return nil
}

// FenceAll fences the sessions of all vaults, whatever their lease. It is for a
// single node that starts: the owners of all sessions are dead, also of those
// that were fenced before, whose rows need not be kept any longer. So nobody goes
// on with a round.
func (d *DB) FenceAll(ctx context.Context) error {
	return d.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE ledger_round SET held_until = 0"); err != nil {
			return err
		}
		r, err := tx.Exec(ctx, `UPDATE ledger_session SET state = ?, pins = NULL, pin = '', keep_until = 0
			WHERE state IN (?, ?)`, repo.SessionFenced, repo.SessionActive, repo.SessionFenced)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE ledger_vault SET freed = freed + 1")
		return err
	})
}

// Vaults returns the names of all vaults that have a ledger, ascending.
func (d *DB) Vaults(ctx context.Context) (names []string, err error) {
	err = d.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		names = nil
		rows, err := tx.Query(ctx, "SELECT vault FROM ledger_vault ORDER BY vault")
		if err != nil {
			return fmt.Errorf("list ledgers: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return fmt.Errorf("list ledgers: %w", err)
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	return names, err
}

// Due returns the vaults in which something may have become free since their last
// whole reclaim began, each with what [DB.Reclaimed] is to be told after the next
// one. That a recovery point was removed is known to all nodes this way, and
// outlives the one that removed it.
func (d *DB) Due(ctx context.Context) (due map[string]uint64, err error) {
	err = d.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		due = map[string]uint64{}
		rows, err := tx.Query(ctx, "SELECT vault, freed FROM ledger_vault WHERE freed > reclaimed")
		if err != nil {
			return fmt.Errorf("list vaults to reclaim: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var (
				name  string
				freed uint64
			)
			if err := rows.Scan(&name, &freed); err != nil {
				return fmt.Errorf("list vaults to reclaim: %w", err)
			}
			due[name] = freed
		}
		return rows.Err()
	})
	return due, err
}

// Reclaimed notes that a reclaim of a vault ended, which began when [DB.Due] said freed.
func (d *DB) Reclaimed(ctx context.Context, vault string, freed uint64) error {
	return patient(ctx, func() error {
		return d.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE ledger_vault SET reclaimed = ? WHERE vault = ? AND reclaimed < ?",
				int64(freed), vault, int64(freed))
			return err
		})
	})
}

// Vault returns the ledger of one vault. It does not check that there is one;
// methods of a ledger that was not created return [repo.ErrNotFound].
func (d *DB) Vault(vault string) *Vault { return &Vault{d: d, name: vault} }

// Vault is the ledger of one vault.
type Vault struct {
	d    *DB
	name string
}

var _ repo.Ledger = (*Vault)(nil)

// Create is [DB.CreateTx] in a transaction of its own. When there is a ledger
// already, perhaps because an answer was lost, the error is one that
// [meta.DB.IsDuplicate] knows.
func (v *Vault) Create(ctx context.Context) error {
	var there error
	err := patient(ctx, func() error {
		err := v.d.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return v.d.CreateTx(ctx, tx, v.name) })
		if there = nil; v.d.db.IsDuplicate(err) {
			there, err = err, nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return there
}

// The first pause before a call is repeated, and the last: each is four times
// the one before.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 800 * time.Millisecond
)

// patient repeats a call that may succeed when it is repeated.
func patient(ctx context.Context, call func() error) error {
	for pause := firstPause; ; pause *= 4 {
		err := call()
		if err == nil || pause > lastPause || decided(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// decided reports whether an error is the ledger's answer.
func decided(err error) bool {
	for _, answer := range []error{repo.ErrFenced, repo.ErrNotFound, repo.ErrBusy, repo.ErrStale, meta.ErrNested, errTaken} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}

// Identity implements [repo.Ledger].
func (v *Vault) Identity(ctx context.Context) (id [16]byte, err error) {
	err = v.view(ctx, func(_ context.Context, t *ledgerTx) error {
		id = t.identity
		return nil
	})
	return id, err
}

// Claimed implements [repo.Ledger].
func (v *Vault) Claimed(ctx context.Context) (n uint64, err error) {
	err = v.view(ctx, func(_ context.Context, t *ledgerTx) error {
		n = t.claim
		return nil
	})
	return n, err
}

// NoteClaim implements [repo.Ledger].
func (v *Vault) NoteClaim(ctx context.Context, n uint64) error {
	return v.update(ctx, func(_ context.Context, t *ledgerTx) error {
		t.claim, t.changed = n, true
		return nil
	})
}

// ledgerTx is a transaction on one vault. Its fields are the vault's row.
type ledgerTx struct {
	*meta.Tx
	d        *DB
	vault    string
	identity [16]byte
	claim    uint64
	epoch    uint64
	revision uint64
	horizon  uint64 // revision up to which it is not known what was forgotten
	journal  repo.JournalHead
	freed    uint64 // how often something may have become free
	changed  bool   // the row is to be written back
}

// update runs fn in a transaction that has locked the vault's row, and writes
// the row back if fn changed it. It is repeated.
func (v *Vault) update(ctx context.Context, fn func(context.Context, *ledgerTx) error) error {
	return patient(ctx, func() error { return v.once(ctx, fn) })
}

// once is update without repetition.
func (v *Vault) once(ctx context.Context, fn func(context.Context, *ledgerTx) error) error {
	return v.d.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return v.d.within(ctx, tx, v.name, fn) })
}

// updateTx is update for what is also part of larger transactions.
func (v *Vault) updateTx(ctx context.Context, fn func(context.Context, *meta.Tx) error) error {
	return patient(ctx, func() error { return v.d.db.Update(ctx, fn) })
}

// within is update in a transaction that the caller began.
func (d *DB) within(ctx context.Context, tx *meta.Tx, vault string, fn func(context.Context, *ledgerTx) error) error {
	t, err := d.begin(ctx, tx, vault, tx.ForUpdate())
	if err != nil {
		return err
	}
	if err := fn(ctx, t); err != nil || !t.changed {
		return err
	}
	_, err = t.Exec(ctx, `UPDATE ledger_vault SET claim = ?, epoch = ?, revision = ?, horizon = ?, freed = ?, journal = ?, journal_hash = ?
		WHERE vault = ?`, int64(t.claim), int64(t.epoch), int64(t.revision), int64(t.horizon), int64(t.freed),
		int64(t.journal.Number), t.journal.Hash[:], vault)
	return err
}

// view runs fn on a snapshot.
func (v *Vault) view(ctx context.Context, fn func(context.Context, *ledgerTx) error) error {
	return patient(ctx, func() error {
		return v.d.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			t, err := v.d.begin(ctx, tx, v.name, "")
			if err != nil {
				return err
			}
			return fn(ctx, t)
		})
	})
}

func (d *DB) begin(ctx context.Context, tx *meta.Tx, vault, lock string) (*ledgerTx, error) {
	t := &ledgerTx{Tx: tx, d: d, vault: vault}
	var identity, last []byte
	row := tx.QueryRow(ctx, `SELECT identity, claim, epoch, revision, horizon, freed, journal, journal_hash
		FROM ledger_vault WHERE vault = ?`+lock, vault)
	switch err := row.Scan(&identity, &t.claim, &t.epoch, &t.revision, &t.horizon, &t.freed, &t.journal.Number, &last); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("ledger of vault %s: %w", vault, repo.ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("ledger of vault %s: %w", vault, err)
	}
	copy(t.identity[:], identity)
	copy(t.journal.Hash[:], last)
	return t, nil
}

// now is the clock of leases.
func (t *ledgerTx) now(ctx context.Context) (time.Time, error) {
	now, err := t.Now(ctx)
	return now.Add(t.d.shift()), err
}

// raise begins a new epoch.
func (t *ledgerTx) raise() {
	t.epoch++
	t.changed = true
}

// free notes that something may have become free.
func (t *ledgerTx) free() {
	t.freed++
	t.changed = true
}

func newSessionID() repo.SessionID {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return repo.SessionID(hex.EncodeToString(id))
}

// orNull keeps the difference between no bytes and none given.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
