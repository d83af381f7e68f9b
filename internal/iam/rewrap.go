package iam

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/meta"
)

// RewrapSecrets wraps the secrets of access keys anew under the present root key. current reports whether it wrapped
// something already, rather than one that it is about to replace.
func (s *Service) RewrapSecrets(ctx context.Context, current func(wrapped []byte) bool) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		old, err := wrappedSecrets(ctx, tx)
		if err != nil {
			return fmt.Errorf("list secrets of access keys: %w", err)
		}
		for id, wrapped := range old {
			if current(wrapped) {
				continue
			}
			secret, err := s.keys.Unwrap(ctx, wrapped, bindTo(id))
			if err == nil {
				wrapped, err = s.keys.Wrap(ctx, secret, bindTo(id))
			}
			if err == nil {
				_, err = tx.Exec(ctx, "UPDATE iam_access_key SET secret = ? WHERE id = ?", wrapped, id)
			}
			if err != nil {
				return fmt.Errorf("rewrap secret of access key %s: %w", id, err)
			}
		}
		return nil
	})
}

// wrappedSecrets returns the secrets of all access keys, as they are wrapped, by id.
func wrappedSecrets(ctx context.Context, tx *meta.Tx) (map[string][]byte, error) {
	rows, err := tx.Query(ctx, "SELECT id, secret FROM iam_access_key")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var id string
		var wrapped []byte
		if err := rows.Scan(&id, &wrapped); err != nil {
			return nil, err
		}
		all[id] = wrapped
	}
	return all, rows.Err()
}
