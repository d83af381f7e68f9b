package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/arn"
	"github.com/lockfast/lockfast/internal/meta"
)

// ResolvePrincipalsTx finds the unique ids of the users and roles that a policy names, see [policy.Document.Principals]. ids has
// those that were named by ARN. unknown is the first one that does not exist on this server, worded like AWS:"...", or empty.
func (s *Service) ResolvePrincipalsTx(ctx context.Context, tx *meta.Tx, principals []string) (
	ids map[string]string, unknown string, err error,
) {
	ids, unknown, err = resolveTx(ctx, tx, principals)
	if unknown != "" {
		unknown = quoted(unknown)
	}
	return ids, unknown, err
}

// quoted writes a principal as messages do.
func quoted(principal string) string {
	kind, value, _ := strings.Cut(principal, ":")
	return fmt.Sprintf("%q:%q", kind, value)
}

// resolveTx is [Service.ResolvePrincipalsTx] with the unknown principal as it is. Accounts, services and providers of
// identities are taken as they are: a policy may name them before they are.
func resolveTx(ctx context.Context, tx *meta.Tx, principals []string) (
	ids map[string]string, unknown string, err error,
) {
	ids = map[string]string{}
	for _, p := range principals {
		value, ok := strings.CutPrefix(p, "AWS:")
		if !ok {
			continue
		}
		id, needed, err := principalTx(ctx, tx, value)
		switch {
		case err != nil:
			return nil, "", err
		case needed && id == "":
			return nil, p, nil
		case needed && id != value:
			ids[value] = id
		}
	}
	return ids, "", nil
}

// principalTx finds the unique id of a principal that must exist; needed is false for one that need not.
func principalTx(ctx context.Context, tx *meta.Tx, value string) (id string, needed bool, err error) {
	a, bad := arn.Parse(value)
	if bad != nil {
		for _, k := range []*kind{userKind, roleKind} {
			if strings.HasPrefix(value, k.prefix) {
				id, err = idTx(ctx, tx, "SELECT "+k.id+" FROM "+k.table+" WHERE "+k.id+" = ?", value)
				return id, true, err
			}
		}
		return "", false, nil // an account
	}
	if session, ok := strings.CutPrefix(a.Resource, assumedRolePrefix); ok {
		name, _, _ := strings.Cut(session, "/")
		id, err = idTx(ctx, tx, "SELECT role_id FROM iam_role WHERE account = ? AND name = ?", a.Account, name)
		return id, true, err
	}
	for _, k := range []*kind{userKind, roleKind} {
		rest, ok := strings.CutPrefix(a.Resource, k.name+"/")
		if !ok {
			continue
		}
		i := strings.LastIndex(rest, "/")
		id, err = idTx(ctx, tx, "SELECT "+k.id+" FROM "+k.table+" WHERE account = ? AND path = ? AND name = ?", a.Account, "/"+rest[:i+1], rest[i+1:])
		return id, true, err
	}
	return "", false, nil
}

// idTx reads an id; it is empty if there is no row.
func idTx(ctx context.Context, tx *meta.Tx, query string, args ...any) (id string, err error) {
	err = tx.QueryRow(ctx, query, args...).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find principal: %w", err)
	}
	return id, nil
}
