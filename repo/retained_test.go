package repo_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// TestRetained_IsToldBeforeAndAfter asks what a deletion would free, and what is dead afterwards, in a store that retains packs.
func TestRetained_IsToldBeforeAndAfter(t *testing.T) {
	t.Parallel()
	s, l := retaining{mem.New()}, localledger.New(localledger.Options{})
	var ahead atomic.Int64
	s.SetClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	v := create(t, s, l, small())
	start := time.Now()
	have := newGenerator(8).files(200)
	id := mustBackup(t, v, "", have, nil)
	freed, err := v.WouldFree(t.Context(), []repo.PointID{id})
	if err != nil || freed.SlotBytes == 0 || freed.RetainedBytes != freed.SlotBytes {
		t.Errorf("WouldFree = %+v, %v, want all of it retained", freed, err)
	}
	if m, err := v.Measure(t.Context(), nil); err != nil || m.RetainedBytes != 0 {
		t.Errorf("Measure = %+v, %v, want nothing dead and retained", m.Usage, err)
	}
	if err := remove(t.Context(), v, l, id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if m, err := v.Measure(t.Context(), nil); err != nil || m.DeadBytes == 0 || m.RetainedBytes != m.DeadBytes {
			t.Errorf("Measure = %+v, %v, want all that is dead retained", m.Usage, err)
		}
		r := mustReclaim(t, v)
		if left := r.Next.Sub(start); r.BytesRetained == 0 || left < 24*time.Hour || left > 25*time.Hour {
			t.Errorf("Reclaim = %+v, want the next one in a day", r)
		}
	}
	ahead.Store(int64(25 * time.Hour))
	if r := mustReclaim(t, v); r.BytesRetained != 0 || !r.Next.IsZero() {
		t.Errorf("Reclaim after the retention = %+v, want no next one", r)
	}
	if m, err := v.Measure(t.Context(), nil); err != nil || m.DeadBytes != 0 || m.RetainedBytes != 0 {
		t.Errorf("Measure = %+v, %v, want nothing dead", m.Usage, err)
	}
}
