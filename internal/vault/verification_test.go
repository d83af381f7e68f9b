package vault_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/repo"
)

func TestGetVaultVerification(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.vault("home")
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		f.others.coverage = repo.Coverage{Packs: 9, Bytes: 100, BytesKnown: 40, Newest: &at, Damages: []repo.DamageRecord{
			{Object: "d/aa", Slot: 3, Reason: "flipped", Found: at}, {Object: "r/bb", Slot: repo.WholeObject, Reason: "missing", Found: at}}}
		got, err := f.GetVaultVerification(f.ctx, &lockfastapi.GetVaultVerificationInput{BackupVaultName: "home"})
		want := &lockfastapi.GetVaultVerificationOutput{Days: 30, Objects: 9, Bytes: 100, ObjectsVerified: 30, BytesVerified: 40,
			NewestVerification: &at, DamageCount: 2, DamagedRecoveryPoints: []lockfastapi.DamagedRecoveryPoint{}, Damages: []lockfastapi.KnownDamage{
				{Object: "d/aa", Slot: new(int64(3)), Reason: "flipped", FoundDate: at}, {Object: "r/bb", Reason: "missing", FoundDate: at}}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("GetVaultVerification = %v (-want +got):\n%s", err, diff)
		}
		got, err = f.GetVaultVerification(f.ctx, &lockfastapi.GetVaultVerificationInput{BackupVaultName: "home", Days: new(7)})
		if err != nil || got.Days != 7 || got.ObjectsVerified != 7 {
			t.Errorf("GetVaultVerification within 7 days = %+v, %v", got, err)
		}
		_, err = f.GetVaultVerification(f.ctx, &lockfastapi.GetVaultVerificationInput{BackupVaultName: "absent"})
		wantError(t, err, "ResourceNotFoundException", "")
	})
}
