package ledger_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/repo"
)

// noKey wraps keys in nothing.
type noKey struct{}

func (noKey) Wrap(_ context.Context, key, _ []byte) ([]byte, error)       { return key, nil }
func (noKey) Unwrap(_ context.Context, wrapped, _ []byte) ([]byte, error) { return wrapped, nil }

// counted counts how often each object is read.
type counted struct {
	blob.Store
	mu  sync.Mutex
	got map[blob.Name]int // guarded by mu
}

func (s *counted) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	s.mu.Lock()
	s.got[name]++
	s.mu.Unlock()
	return s.Store.Get(ctx, name, off, n)
}

func (s *counted) reads() map[blob.Name]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := maps.Clone(s.got)
	clear(s.got)
	return got
}

// TestRound_OfTwoServers has two servers on one database look at a vault at the same time, each over and over with turns of one part,
// and one that is started later: every object is read once a day.
func TestRound_OfTwoServers(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, db *meta.DB) {
		var c clock
		s := &counted{Store: mem.New(), got: map[blob.Name]int{}}
		l := vault(t, ledger.New(db, ledger.Options{Shift: c.shift}), "v")
		v, err := repo.Create(t.Context(), s, l, noKey{}, repo.CreateOptions{UUID: [16]byte{7}, DomainKey: [32]byte{9}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		for n := range 300 { // three parts of a round
			id := repo.PointID(fmt.Sprintf("%032x", n))
			if _, err := v.PutPointState(t.Context(), id, repo.PointRecord{Generation: 1}); err != nil {
				t.Fatal(err)
			}
		}
		server := func() *repo.Vault {
			t.Helper()
			v, err := repo.Open(t.Context(), s, ledger.New(db, ledger.Options{Shift: c.shift}).Vault("v"), noKey{}, repo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { v.Close() })
			return v
		}
		servers := []*repo.Vault{v, server()}
		for day := range 2 {
			s.reads()
			var g errgroup.Group
			turns := func(v *repo.Vault) error {
				for range 20 {
					asked := 0
					_, err := v.Round(t.Context(), repo.ScrubOptions{Yield: func() bool { asked++; return asked > 1 }})
					if err != nil {
						return err
					}
				}
				return nil
			}
			for _, v := range servers {
				g.Go(func() error { return turns(v) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if err := turns(v); err != nil { // each may have asked for its turns while the other one was slow
				t.Fatal(err)
			}
			got := s.reads()
			want := map[blob.Name]int{}
			for info, err := range s.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				want[info.Name] = 1
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("reads of day %d (-want +got):\n%s", day, diff)
			}
			late := server()
			s.reads()
			if _, err := late.Round(t.Context(), repo.ScrubOptions{}); err != nil || len(s.reads()) > 0 {
				t.Errorf("a server that is started later reads again, %v", err)
			}
			c.advance(25 * time.Hour)
		}
	})
}
