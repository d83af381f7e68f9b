package vault_test

import (
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/repo"
)

// TestListRecoveryPoints_SaysThatSizesAreOutdated changes a vault of two after both were measured.
func TestListRecoveryPoints_SaysThatSizesAreOutdated(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		home, other := f.vault("home"), f.vault("other")
		first, second := f.completed(home, 1), f.completed(other, 2)
		want := func(when string, outdated map[string]bool) {
			t.Helper()
			list, err := f.ListRecoveryPoints(f.ctx, &lockfastapi.ListRecoveryPointsInput{})
			if err != nil || len(list.RecoveryPoints) != 2 {
				t.Fatalf("ListRecoveryPoints = %v, %v, want two", list, err)
			}
			for _, p := range list.RecoveryPoints {
				if p.SizesOutdated != outdated[p.RecoveryPointArn] {
					t.Errorf("%s, sizes of %s outdated = %t", when, p.RecoveryPointArn, p.SizesOutdated)
				}
			}
		}
		want("before a measure", map[string]bool{first: true, second: true})
		f.measure(home, repo.Measure{})
		f.measure(other, repo.Measure{})
		want("after it", nil)
		if err := f.Outdate(f.ctx, home); err != nil {
			t.Fatal(err)
		}
		want("after a change", map[string]bool{first: true})
	})
}
