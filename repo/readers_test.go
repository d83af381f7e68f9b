package repo_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
)

// TestFetch_ReadsAsManyRangesAtOnceAsItIsTold restores from a store at some distance, by a clock that stands still while
// somebody works.
func TestFetch_ReadsAsManyRangesAtOnceAsItIsTold(t *testing.T) {
	t.Parallel()
	v, inner, _ := newVault(t)
	have := files{}
	for i := range 40 {
		have[fmt.Sprint(i)] = randomBytes(400 << 10)
	}
	id := mustBackup(t, v, "", have, nil)
	copied := inner.(*mem.Store).Clone()
	took := map[int]time.Duration{}
	for _, readers := range []int{1, 16} {
		synctest.Test(t, func(t *testing.T) {
			far := fault.New(copied, fault.Rule{Op: fault.Get, Name: "d/*/*", Kind: fault.Slow, Delay: time.Second})
			v, err := repo.OpenReadOnly(t.Context(), far, testKey, repo.Options{Readers: readers, Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			begun := time.Now()
			if err := verify(t.Context(), v, id, have); err != nil {
				t.Error(err)
			}
			took[readers] = time.Since(begun)
		})
	}
	if took[16] == 0 || took[1] < 6*took[16] {
		t.Errorf("a restore took %s with one reader, %s with sixteen", took[1], took[16])
	}
}
