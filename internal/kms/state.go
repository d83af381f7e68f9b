package kms

import (
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// Windows between the request to delete a key and its destruction, in days.
const (
	minWindow     = 7
	maxWindow     = 30
	defaultWindow = 30
	day           = 24 * time.Hour
)

// EnableKey lets a key be used.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html.
func (s *Service) EnableKey(ctx context.Context, in *kmsapi.EnableKeyInput) (*kmsapi.EnableKeyOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		return set(ctx, tx, k, "state = ?", enabled)
	})
	return nil, err
}

// DisableKey keeps a key from being used, at once. Jobs under way on its vaults may finish.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html.
func (s *Service) DisableKey(ctx context.Context, in *kmsapi.DisableKeyInput) (*kmsapi.DisableKeyOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		return set(ctx, tx, k, "state = ?", disabled)
	})
	if err == nil {
		s.o.Vaults.KeyChanged(ctx)
	}
	return nil, err
}

// ScheduleKeyDeletion keeps a key from being used, and has it destroyed when the window is over unless the deletion is
// cancelled. With it goes what its vaults hold.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, in *kmsapi.ScheduleKeyDeletionInput) (*kmsapi.ScheduleKeyDeletionOutput, error) {
	window := defaultWindow
	if in.PendingWindowInDays != nil {
		window = *in.PendingWindowInDays
	}
	if window < minWindow || window > maxWindow {
		return nil, validation("PendingWindowInDays must be between %d and %d: %d", minWindow, maxWindow, window)
	}
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	deleteAt := s.now().Add(time.Duration(window) * day)
	k, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		return set(ctx, tx, k, "state = ?, window_days = ?, delete_at = ?", pending, window, micros(deleteAt))
	})
	if err != nil {
		return nil, err
	}
	s.o.Vaults.KeyChanged(ctx)
	s.warn(ctx, "KMS key will be destroyed, and the data of its vaults with it", k, "at", deleteAt)
	return &kmsapi.ScheduleKeyDeletionOutput{KeyId: new(k.arn()), DeletionDate: &deleteAt,
		KeyState: new(kmsapi.KeyStatePendingDeletion), PendingWindowInDays: &window}, nil
}

// warn tells the operator of a key, naming its vaults.
func (s *Service) warn(ctx context.Context, text string, k key, more ...any) {
	names, err := s.o.Vaults.VaultsOfKey(ctx, k.arn())
	if err != nil {
		s.o.Log.WarnContext(ctx, "vaults of a KMS key not listed", "key", k.arn(), "error", err)
	}
	s.o.Log.WarnContext(ctx, text, append([]any{"key", k.arn(), "vaults", names}, more...)...)
}

// CancelKeyDeletion keeps a key whose deletion was scheduled. It is disabled then.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html.
func (s *Service) CancelKeyDeletion(ctx context.Context, in *kmsapi.CancelKeyDeletionInput) (*kmsapi.CancelKeyDeletionOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	var k key
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if k, err = find(ctx, tx, in.KeyId, tx.ForUpdate()); err != nil {
			return err
		}
		switch k.state {
		case pending:
			return set(ctx, tx, k, "state = ?, window_days = 0, delete_at = 0", disabled)
		case destroying:
			return kmsapi.KMSInvalidStateExceptionf("%s is being destroyed.", k.arn())
		}
		return kmsapi.KMSInvalidStateExceptionf("%s is not pending deletion.", k.arn())
	})
	if err != nil {
		return nil, err
	}
	return &kmsapi.CancelKeyDeletionOutput{KeyId: new(k.arn())}, nil
}

// Expire destroys the keys whose window is over, and rotates those whose time has come. One that cannot be destroyed now
// is left for the next call.
func (s *Service) Expire(ctx context.Context) error {
	var due, old []key
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		now := micros(s.now())
		due, err = selectKeys(ctx, tx, " WHERE delete_at > 0 AND delete_at <= ? ORDER BY delete_at, id", now)
		if err == nil {
			old, err = selectKeys(ctx, tx, " WHERE rotate_at > 0 AND rotate_at <= ? AND state = ? ORDER BY rotate_at, id", now, enabled)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, k := range due {
		if err := s.destroy(ctx, k); err != nil {
			return fmt.Errorf("destroy KMS key %s: %w", k.arn(), err)
		}
	}
	for _, k := range old {
		if _, err := s.rotate(ctx, k.arn(), s.due); err != nil {
			return fmt.Errorf("rotate KMS key %s: %w", k.arn(), err)
		}
	}
	return nil
}

// due reports whether the time has come for a key to be rotated.
func (s *Service) due(k key) bool {
	return k.state == enabled && !k.rotateAt.IsZero() && !k.rotateAt.After(s.now())
}

// destroy first makes up its mind, then removes what the key wrapped, then the key.
func (s *Service) destroy(ctx context.Context, k key) error {
	begun := false
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		now, ok, err := byARN(ctx, tx, k.arn(), tx.ForUpdate())
		if begun = ok && (now.state == destroying || now.state == pending && !now.deleteAt.After(s.now())); err != nil || !begun {
			return err // its deletion was cancelled, or another server was faster
		}
		return set(ctx, tx, k, "state = ?", destroying)
	})
	if err != nil || !begun {
		return err
	}
	s.warn(ctx, "KMS key is destroyed, and the data of its vaults with it", k)
	if err := s.o.Vaults.Shred(ctx, k.arn()); err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return remove(ctx, tx, k) })
}
