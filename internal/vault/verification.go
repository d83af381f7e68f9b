package vault

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/repo"
)

const (
	verificationDays = 30  // to look back, unless somebody says otherwise
	maxKnownDamages  = 100 // that an answer names
)

// GetVaultVerification answers how much of a vault was read and checked lately, by verifications of level 3 and in the
// background, and what damage is known.
func (s *Service) GetVaultVerification(ctx context.Context, in *lockfastapi.GetVaultVerificationInput,
) (*lockfastapi.GetVaultVerificationOutput, error) {
	v, err := s.named(ctx, caller.From(ctx), in.BackupVaultName)
	if err != nil {
		return nil, err
	}
	days := verificationDays
	if in.Days != nil {
		days = *in.Days
	}
	c, err := s.store.Coverage(ctx, v.UUID, time.Duration(days)*24*time.Hour)
	if err != nil {
		return nil, fmt.Errorf("read verifications of vault %s: %w", v.Name, err)
	}
	out := &lockfastapi.GetVaultVerificationOutput{
		Days: int64(days), Objects: c.Packs, Bytes: c.Bytes, ObjectsVerified: c.PacksKnown, BytesVerified: c.BytesKnown,
		OldestVerification: c.Oldest, NewestVerification: c.Newest, Damages: []lockfastapi.KnownDamage{},
		DamageCount: int64(len(c.Damages)),
	}
	for _, d := range c.Damages[:min(len(c.Damages), maxKnownDamages)] {
		known := lockfastapi.KnownDamage{Object: d.Object, Reason: cmp.Or(d.Reason, "unknown"), FoundDate: d.Found}
		if d.Slot != repo.WholeObject {
			known.Slot = new(int64(d.Slot))
		}
		out.Damages = append(out.Damages, known)
	}
	points, count, err := s.damagedIn(ctx, v.UUID, maxKnownDamages)
	if err != nil {
		return nil, err
	}
	out.DamagedRecoveryPoints, out.DamagedRecoveryPointCount = []lockfastapi.DamagedRecoveryPoint{}, count
	for _, p := range points {
		out.DamagedRecoveryPoints = append(out.DamagedRecoveryPoints,
			lockfastapi.DamagedRecoveryPoint{RecoveryPointArn: p.ARN, Damage: *p.described()})
	}
	return out, nil
}
