package kms

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// HungVault is a vault with the key it hangs on; KeyARN is empty for one that hangs on the root key itself.
type HungVault struct {
	UUID, Account, KeyARN string
}

// Renewer is what wraps vault keys now: the newest version of a key, or the root key.
type Renewer interface {
	repo.Renewer
	// Fingerprint changes whenever vault keys have to be wrapped anew.
	Fingerprint() string
}

// RewrapRecords wraps anew, under the root key, what the root key that it replaces has wrapped in the database. Afterwards
// nothing there needs the old one.
func (s *Service) RewrapRecords(ctx context.Context) error {
	vaults, err := s.o.Vaults.HungVaults(ctx)
	if err != nil {
		return err
	}
	for _, v := range vaults {
		if _, err := s.Domain(ctx, v.Account); err != nil { // which may have been derived from the old one so far
			return err
		}
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return errors.Join(s.rewrapMaterial(ctx, tx), s.rewrapDomains(ctx, tx))
	})
}

// wrappedRow is something that the root key wrapped, and how to write it back.
type wrappedRow struct {
	key     keys.KeyName
	account string
	wrapped []byte
}

func (s *Service) rewrapMaterial(ctx context.Context, tx *meta.Tx) error {
	all, err := selectKeys(ctx, tx, " ORDER BY id")
	if err != nil {
		return err
	}
	for _, k := range all {
		rows, err := scanWrapped(ctx, tx, "SELECT version, '', material FROM kms_key_version WHERE key_id = ?", k.id)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if s.o.Root.Wrapped(r.wrapped) {
				continue
			}
			n := k.name()
			n.Version = r.key.Version
			wrapped, err := s.o.Root.RewrapMaterial(ctx, n, r.wrapped)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE kms_key_version SET material = ? WHERE key_id = ? AND version = ?", wrapped, k.id, n.Version); err != nil {
				return fmt.Errorf("rewrap version %d of KMS key %s: %w", n.Version, k.arn(), err)
			}
		}
	}
	return nil
}

func (s *Service) rewrapDomains(ctx context.Context, tx *meta.Tx) error {
	rows, err := scanWrapped(ctx, tx, "SELECT 0, account, wrapped FROM kms_domain")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if s.o.Root.Wrapped(r.wrapped) {
			continue
		}
		plain, err := s.o.Root.Unwrap(ctx, r.wrapped, bindDomain(r.account))
		if err != nil {
			return fmt.Errorf("domain of account %s: %w", r.account, err)
		}
		wrapped, err := s.o.Root.Wrap(ctx, plain, bindDomain(r.account))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE kms_domain SET wrapped = ? WHERE account = ?", wrapped, r.account); err != nil {
			return fmt.Errorf("rewrap domain of account %s: %w", r.account, err)
		}
	}
	return nil
}

func scanWrapped(ctx context.Context, tx *meta.Tx, query string, args ...any) (all []wrappedRow, err error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list wrapped keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r wrappedRow
		if err := rows.Scan(&r.key.Version, &r.account, &r.wrapped); err != nil {
			return nil, fmt.Errorf("list wrapped keys: %w", err)
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

func bindDomain(account string) []byte { return []byte("lockfast v1 domain of account|" + account) }

// Domain returns the key under which equal contents of an account's vaults get equal ids. It stays the same for ever.
func (s *Service) Domain(ctx context.Context, account string) (domain [32]byte, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var wrapped []byte
		err := tx.QueryRow(ctx, "SELECT wrapped FROM kms_domain WHERE account = ?", account).Scan(&wrapped)
		if errors.Is(err, sql.ErrNoRows) {
			domain = s.o.Root.Domain(account)
			if wrapped, err = s.o.Root.Wrap(ctx, domain[:], bindDomain(account)); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "INSERT INTO kms_domain (account, wrapped) VALUES (?, ?)", account, wrapped)
			return err
		}
		if err != nil {
			return err
		}
		plain, err := s.o.Root.Unwrap(ctx, wrapped, bindDomain(account))
		if err == nil && len(plain) != len(domain) {
			err = repo.ErrDamaged
		}
		if err == nil {
			domain = [32]byte(plain)
		}
		return err
	})
	if s.db.IsDuplicate(err) { // another process was faster
		return s.Domain(ctx, account)
	}
	if err != nil {
		return domain, fmt.Errorf("domain of account %s: %w", account, err)
	}
	return domain, nil
}

// RewrapVaults has the keys of all vaults wrapped anew that are not wrapped by the newest version of their key, or not under
// the present root key. After it has returned nil, nothing in the store needs others. It may be repeated, and what was found
// current is not looked at again.
func (s *Service) RewrapVaults(ctx context.Context) error {
	vaults, err := s.o.Vaults.HungVaults(ctx)
	if err != nil {
		return err
	}
	noted, err := s.notedVaults(ctx)
	if err != nil {
		return err
	}
	var all error
	for _, v := range vaults {
		if err := s.rewrapVault(ctx, v, noted[v.UUID]); err != nil {
			all = errors.Join(all, fmt.Errorf("rewrap key of vault %s: %w", v.UUID, err))
		}
		delete(noted, v.UUID)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for id := range noted { // of vaults that are gone
		all = errors.Join(all, s.noteVault(ctx, id, ""))
	}
	return all
}

func (s *Service) rewrapVault(ctx context.Context, v HungVault, noted string) error {
	to, err := s.renewer(ctx, v.KeyARN)
	if err != nil || to == nil || to.Fingerprint() == noted {
		return err
	}
	found, err := s.o.Vaults.Rewrap(ctx, v.UUID, to, func(ctx context.Context) (bool, error) {
		now, err := s.renewer(ctx, v.KeyARN)
		return now != nil, err
	})
	if errors.Is(err, repo.ErrDestroyed) {
		err = &Unusable{ARN: v.KeyARN}
	}
	if err != nil || !found {
		return err
	}
	return s.noteVault(ctx, v.UUID, to.Fingerprint())
}

// renewer opens what wraps the keys of the vaults of a key, whatever the key's state: nothing can be read by wrapping anew.
// It is nil for a key that is destroyed or about to be.
func (s *Service) renewer(ctx context.Context, keyARN string) (to Renewer, err error) {
	if keyARN == "" {
		return s.o.Root, nil
	}
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		to = nil
		k, ok, err := byARN(ctx, tx, keyARN, "")
		if err != nil || !ok || k.state == destroying {
			return err
		}
		opened, err := s.open(ctx, tx, k, k.version)
		if err == nil {
			to = opened
		}
		return err
	})
	return to, err
}

func (s *Service) notedVaults(ctx context.Context) (noted map[string]string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		noted = map[string]string{}
		rows, err := tx.Query(ctx, "SELECT vault_uuid, wrapped_by FROM kms_vault")
		if err != nil {
			return fmt.Errorf("list keys of vaults: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, by string
			if err := rows.Scan(&id, &by); err != nil {
				return fmt.Errorf("list keys of vaults: %w", err)
			}
			noted[id] = by
		}
		return rows.Err()
	})
	return noted, err
}

// noteVault notes what wraps the key of a vault; empty for a vault that is gone.
func (s *Service) noteVault(ctx context.Context, vaultUUID, by string) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM kms_vault WHERE vault_uuid = ?", vaultUUID)
		if err == nil && by != "" {
			_, err = tx.Exec(ctx, "INSERT INTO kms_vault (vault_uuid, wrapped_by) VALUES (?, ?)", vaultUUID, by)
		}
		return err
	})
}
