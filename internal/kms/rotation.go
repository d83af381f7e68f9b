package kms

import (
	"context"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
)

// defaultPeriod is how many days pass between two rotations unless a key says otherwise.
const defaultPeriod = 365

// EnableKeyRotation has a key get a new version now and then.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html.
func (s *Service) EnableKeyRotation(ctx context.Context, in *kmsapi.EnableKeyRotationInput) (*kmsapi.EnableKeyRotationOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	period := defaultPeriod
	if in.RotationPeriodInDays != nil {
		period = *in.RotationPeriodInDays
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		if err := k.usable(); err != nil {
			return err
		}
		return set(ctx, tx, k, "rotation_days = ?, rotate_at = ?", period, micros(s.nextRotation(period)))
	})
	return nil, err
}

// nextRotation is the time of the next rotation; zero if there is none.
func (s *Service) nextRotation(period int) time.Time {
	if period == 0 {
		return time.Time{}
	}
	return s.now().Add(time.Duration(period) * day)
}

// DisableKeyRotation leaves a key at its version.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKeyRotation.html.
func (s *Service) DisableKeyRotation(ctx context.Context, in *kmsapi.DisableKeyRotationInput) (*kmsapi.DisableKeyRotationOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	_, err := s.change(ctx, in.KeyId, func(ctx context.Context, tx *meta.Tx, k key) error {
		if err := k.usable(); err != nil {
			return err
		}
		return set(ctx, tx, k, "rotation_days = 0, rotate_at = 0")
	})
	return nil, err
}

// GetKeyRotationStatus answers whether a key is rotated by itself.
//
// See https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html.
func (s *Service) GetKeyRotationStatus(ctx context.Context, in *kmsapi.GetKeyRotationStatusInput) (*kmsapi.GetKeyRotationStatusOutput, error) {
	if err := byKeyOnly(in.KeyId); err != nil {
		return nil, err
	}
	k, err := s.read(ctx, in.KeyId)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.GetKeyRotationStatusOutput{KeyId: new(k.arn()), KeyRotationEnabled: new(k.rotationDays > 0 && k.notPending() == nil)}
	if *out.KeyRotationEnabled {
		out.RotationPeriodInDays, out.NextRotationDate = &k.rotationDays, &k.rotateAt
	}
	return out, nil
}

// rotate gives a key a new version if it is as wanted.
func (s *Service) rotate(ctx context.Context, name string, wanted func(key) bool) (k key, err error) {
	rotated := false
	err = s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		var ok bool
		rotated = false
		k, ok, err = byARN(ctx, tx, name, tx.ForUpdate())
		if err != nil || !ok || !wanted(k) {
			return err
		}
		k.version++
		if err := s.addVersion(ctx, tx, k); err != nil {
			return err
		}
		rotated = true
		return set(ctx, tx, k, "version = ?, rotate_at = ?", k.version, micros(s.nextRotation(k.rotationDays)))
	})
	if err == nil && rotated {
		s.o.Vaults.KeyRotated()
	}
	return k, err
}

// RotateKey gives a key a new version now. What users encrypted with older versions can be decrypted; the keys of vaults
// are wrapped anew soon.
func (s *Service) RotateKey(ctx context.Context, in *lockfastapi.RotateKeyInput) (*lockfastapi.RotateKeyOutput, error) {
	k, err := s.read(ctx, in.KeyId)
	if err == nil {
		err = k.usable()
	}
	if err == nil {
		k, err = s.rotate(ctx, k.arn(), func(k key) bool { return k.usable() == nil })
	}
	if err != nil {
		return nil, ownError(err)
	}
	s.o.Log.InfoContext(ctx, "KMS key rotated", "key", k.arn(), "version", k.version, "request_id", caller.RequestID(ctx))
	return &lockfastapi.RotateKeyOutput{KeyArn: new(k.arn()), Version: new(int(k.version))}, nil
}
