package vault_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/repo"
)

// TestDescribeDeletion_NamesTheVaultThatCannotBeMeasured asks about two vaults, the key of one of which is disabled.
func TestDescribeDeletion_NamesTheVaultThatCannotBeMeasured(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, other := f.vault("home"), f.vault("other")
		in := &lockfastapi.DescribeDeletionInput{RecoveryPointArns: []string{f.completed(home, 1), f.completed(other, 2)}}
		f.others.freed = map[string]repo.Freed{stored(other, 2): {SlotBytes: 7}}
		f.others.unfreed = map[string]error{home: lockfastapi.InvalidRequestExceptionf("the key is disabled")}
		_, vaults := f.preview(in)
		if got, want := f.freedBy(vaults), "home: 1 free 0; other: 1 free 7; "; got != want {
			t.Fatalf("DescribeDeletion = %s, want %s", got, want)
		}
		if why := vaults[0].Unknown; why == nil || !strings.Contains(*why, "the key is disabled") || vaults[1].Unknown != nil {
			t.Errorf("DescribeDeletion = %+v, want why one vault cannot be measured", vaults)
		}
		f.others.unfreed[home] = errors.New("broken")
		if _, err := f.DescribeDeletion(f.ctx, in); err == nil || !strings.Contains(err.Error(), "home") {
			t.Errorf("DescribeDeletion = %v, want an error that names the vault", err)
		}
	})
}
