package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/wire"
)

// entity is what things of all kinds have in common.
type entity struct {
	kind     *kind
	account  string
	name     string
	path     string
	id       string
	boundary string // ARN of a managed policy, or empty
	service  string // of a service-linked role, or empty
	created  time.Time
}

func (e *entity) arn() string { return e.kind.arn(e.account, e.path, e.name) }

// columns are what [entity.scan] reads.
func (k *kind) columns() string {
	return "account, name, path, " + k.id + ", " + k.extra + ", created_at"
}

// scan reads the columns of its kind, and then others.
func (e *entity) scan(row interface{ Scan(...any) error }, others ...any) error {
	var created int64
	err := row.Scan(append([]any{&e.account, &e.name, &e.path, &e.id, &e.boundary, &e.service, &created}, others...)...)
	e.created = meta.FromMicros(created)
	return err
}

// findTx reads a thing by its name.
func findTx(ctx context.Context, tx *meta.Tx, k *kind, account, name string) (*entity, error) {
	e := &entity{kind: k}
	err := e.scan(tx.QueryRow(ctx, "SELECT "+k.columns()+" FROM "+k.table+" WHERE account = ? AND name = ?", account, name))
	return e, orNotFound(err, k.notFound(name))
}

// orNotFound replaces the error for a row that does not exist.
func orNotFound(err, absent error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return absent
	case err != nil:
		return fmt.Errorf("read identities: %w", err)
	}
	return nil
}

// modifiableTx is [findTx] for a change that AWS alone may make to a service-linked role.
func modifiableTx(ctx context.Context, tx *meta.Tx, k *kind, account, name string) (*entity, error) {
	e, err := findTx(ctx, tx, k, account, name)
	if err == nil && e.service != "" {
		err = protected(name)
	}
	return e, err
}

func protected(role string) error {
	return iamapi.UnmodifiableEntityExceptionf(
		"Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", role)
}

// freeTx checks that an account may have one more thing of a kind, with a name.
func freeTx(ctx context.Context, tx *meta.Tx, k *kind, account, name string) error {
	n, err := countTx(ctx, tx, k.table+" WHERE account = ? AND lower(name) = lower(?)", account, name)
	if err != nil {
		return err
	}
	if n > 0 {
		return k.exists(name)
	}
	n, err = countTx(ctx, tx, k.table+" WHERE account = ?", account)
	if err == nil && n >= k.max {
		err = quota(k.plural+"PerAccount", k.max)
	}
	return err
}

func countTx(ctx context.Context, tx *meta.Tx, from string, args ...any) (n int, err error) {
	if err = tx.QueryRow(ctx, "SELECT COUNT(*) FROM "+from, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count identities: %w", err)
	}
	return n, nil
}

// execTx runs a statement and answers how many rows it changed.
func execTx(ctx context.Context, tx *meta.Tx, query string, args ...any) (int64, error) {
	r, err := tx.Exec(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("write identities: %w", err)
	}
	return r.RowsAffected()
}

// runTx runs statements with the same arguments.
func runTx(ctx context.Context, tx *meta.Tx, args []any, queries ...string) error {
	for _, query := range queries {
		if _, err := execTx(ctx, tx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// selectTx reads rows.
func selectTx[T any](ctx context.Context, tx *meta.Tx, scan func(row *sql.Rows) (T, error), query string, args ...any) (
	[]T, error,
) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list identities: %w", err)
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list identities: %w", err)
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

// text reads a row of one column.
func text(rows *sql.Rows) (s string, err error) { return s, rows.Scan(&s) }

// userTx is [findTx] for a user that is the caller if no name is given.
func userTx(ctx context.Context, tx *meta.Tx, name *string) (*entity, error) {
	c := caller.From(ctx)
	if name != nil {
		return findTx(ctx, tx, userKind, c.Account, *name)
	}
	e := &entity{kind: userKind}
	err := e.scan(tx.QueryRow(ctx, "SELECT "+userKind.columns()+" FROM iam_user WHERE account = ? AND user_id = ?", c.Account, c.UserID))
	return e, orNotFound(err, &wire.Invalid{Member: "UserName", Text: "Must specify userName when calling with non-User credentials"})
}

// isAbsent reports whether an error says that something does not exist.
func isAbsent(err error) bool {
	_, ok := errors.AsType[*iamapi.NoSuchEntityException](err)
	return ok
}
