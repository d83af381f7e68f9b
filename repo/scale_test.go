package repo_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// generated opens a vault in a directory that has an index and refsets only.
func generated(t testing.TB, g repo.Generated) (*repo.Vault, repo.Ledger, []repo.PointID) {
	t.Helper()
	dir := t.TempDir()
	store, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	l := localledger.New(localledger.Options{})
	v := create(t, store, l, repo.CreateOptions{UUID: [16]byte{1}, NoParity: true, Options: repo.Options{TempDir: dir}})
	points, err := repo.Generate(t.Context(), v, g)
	if err != nil {
		t.Fatal(err)
	}
	return v, l, points
}

// reclaimHalf deletes the points that need the first half of the packs, and reclaims.
func reclaimHalf(t *testing.T, v *repo.Vault, l repo.Ledger, points []repo.PointID) repo.ReclaimReport {
	t.Helper()
	for _, id := range points[:len(points)/2] {
		if err := remove(t.Context(), v, l, id); err != nil {
			t.Fatal(err)
		}
	}
	report, err := v.Reclaim(t.Context(), repo.ReclaimOptions{Threshold: 0.9}) // moves nothing
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestReclaim_MergesTheIndexIntoSegmentsOfBoundedSize(t *testing.T) {
	t.Parallel()
	const most = 3000
	g := repo.Generated{Packs: 200, Slots: 50, Segments: 20, Points: 20, Needs: 20}
	v, l, points := generated(t, g)
	repo.MergeAtMost(v, most)
	report := reclaimHalf(t, v, l, points)
	// The points that are left need the packs from 10 * 180 / 19 on.
	if want := int64(10 * 180 / 19); report.PacksRemoved != want {
		t.Errorf("Reclaim removed %d packs, want %d", report.PacksRemoved, want)
	}
	entries := 0
	for _, n := range repo.Entries(v) {
		if entries += n; n > most {
			t.Errorf("a segment has %d entries, want at most %d", n, most)
		}
	}
	if want := (200 - 10*180/19) * 50; entries != want {
		t.Errorf("the index has %d entries after the reclaim, want %d", entries, want)
	}
	if n := len(repo.Entries(v)); n > 2*entries/most+1 {
		t.Errorf("the index has %d segments for %d entries", n, entries)
	}
}

func TestReclaim_OfAHundredMillionChunksStaysBelow512MiB(t *testing.T) {
	if soak() == 0 {
		t.Skip("LOCKFAST_SOAK is not set")
	}
	// Not parallel: it measures the whole process.
	const limit = 512 << 20
	g := repo.Generated{Packs: 100_000, Slots: 1000, Segments: 800, Points: 10_000, Needs: 1000}
	begun := time.Now()
	v, l, points := generated(t, g)
	t.Logf("generated in %v", time.Since(begun))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit * 7 / 8)) // as an operator would: it is where the collector of garbage hurries
	debug.FreeOSMemory()
	stop, peak := make(chan struct{}), make(chan int64)
	go func() { peak <- highest(t, stop) }()
	begun = time.Now()
	report := reclaimHalf(t, v, l, points)
	took := time.Since(begun)
	close(stop)
	used := <-peak
	t.Logf("reclaim removed %d packs in %v with at most %d MiB", report.PacksRemoved, took, used>>20)
	if used > limit {
		t.Errorf("the reclaim took %d MiB, want at most %d", used>>20, limit>>20)
	}
	if report.PacksRemoved < int64(g.Packs)*2/5 {
		t.Errorf("Reclaim removed %d packs of %d", report.PacksRemoved, g.Packs)
	}
}

// highest returns the most memory that the process takes for itself, which is without the mapped files that the kernel may
// drop.
func highest(t *testing.T, stop <-chan struct{}) (most int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Errorf("memory of this process: %v", err)
			return 0
		}
		_, rest, _ := bytes.Cut(status, []byte("RssAnon:"))
		var kib int64
		if _, err := fmt.Fscan(bytes.NewReader(rest), &kib); err != nil {
			t.Errorf("memory of this process: %v", err)
			return 0
		}
		most = max(most, kib<<10)
		select {
		case <-stop:
			return most
		case <-tick.C:
		}
	}
}

// BenchmarkMark is the mark pass over 1,000 recovery points of 1 TiB, in chunks of 1 MiB and packs of 32, of which the
// first and the last have nothing in common.
func BenchmarkMark(b *testing.B) {
	g := repo.Generated{Packs: 32_768 * 2, Slots: 32, Segments: 16, Points: 1000, Needs: 32_768}
	v, _, _ := generated(b, g)
	for b.Loop() {
		if _, _, err := repo.Mark(b.Context(), v); err != nil {
			b.Fatal(err)
		}
	}
}
