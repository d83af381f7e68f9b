package repo_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// cutStore fails every put from one of a data pack on, until it is mended.
type cutStore struct {
	blob.Store
	left atomic.Int64 // packs that it takes
	cut  atomic.Bool
}

func (s *cutStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if strings.HasPrefix(string(name), "d/") && s.left.Add(-1) < 0 {
		s.cut.Store(true)
	}
	if s.cut.Load() {
		return errPower
	}
	return s.Store.Put(ctx, name, r, size)
}

// TestCopy_GoesOnAfterACut cuts a copy after three quarters of its packs: the next attempt moves the rest, and few packs again.
func TestCopy_GoesOnAfterACut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to   repo.CreateOptions
		copy func(context.Context, *repo.Vault, *repo.Vault, repo.PointID) (repo.PointID, repo.CopyProgress, error)
	}{"in the account": {other(), copyPoint}, "into another account": {foreign(), across}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, s, _ := newVault(t)
			have := files{"large": randomBytes(20_000_000)}
			id := mustBackup(t, from, "", have, nil)
			packs := int64(len(names(t, s)["d"]))
			l := localledger.New(localledger.Options{})
			store := &cutStore{Store: mem.New()}
			store.left.Store(packs * 3 / 4)
			to := create(t, store, l, c.to)
			if _, _, err := c.copy(t.Context(), from, to, id); !errors.Is(err, errPower) {
				t.Fatalf("copy that is cut = %v, want %v", err, errPower)
			}
			store.left.Store(1 << 30)
			store.cut.Store(false)
			made, progress, err := c.copy(t.Context(), from, to, id)
			if err != nil {
				t.Fatal(err)
			}
			if most := int64(len(have["large"])) / 2; progress.Moved > most {
				t.Errorf("second attempt of %d packs moved %d bytes, want less than %d", packs, progress.Moved, most)
			}
			if err := errors.Join(verify(t.Context(), to, made, have), sound(t.Context(), to)); err != nil {
				t.Error(err)
			}
		})
	}
}
