package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// fillingStore becomes full at one of its puts, and stays so for a while.
type fillingStore struct {
	blob.Store

	mu    sync.Mutex
	left  int // puts that succeed; negative = all
	stays bool
	freed bool   // deletes make room again
	what  string // the first put that failed
}

// fills lets so many puts succeed. The one after fails, with stays all further ones, until something is deleted if deletes free space.
func (s *fillingStore) fills(left int, stays, freed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.stays, s.freed, s.what = left, stays, freed, ""
}

// failed returns the first put that failed.
func (s *fillingStore) failed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.what
}

// admit takes note of a put, and returns the error of one that fails.
func (s *fillingStore) admit(name blob.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		if s.what == "" {
			s.what = string(name)
		}
		if !s.stays {
			s.left = -1
		}
		return fmt.Errorf("put %s: %w", name, blob.ErrNoSpace)
	}
	if s.left > 0 {
		s.left--
	}
	return nil
}

func (s *fillingStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	if err := s.admit(name); err != nil {
		return err
	}
	return s.Store.Put(ctx, name, r, size)
}

// PutStream fails when a part has been read.
func (s *fillingStore) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	if err := s.admit(name); err != nil {
		_, _ = io.CopyN(io.Discard, r, 1000) // fails too if the pack is shorter
		return err
	}
	return s.Store.(blob.Streamer).PutStream(ctx, name, r)
}

func (s *fillingStore) Delete(ctx context.Context, name blob.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Store.Delete(ctx, name)
	if s.freed && s.what != "" && err == nil {
		s.left = -1
	}
	return err
}

// fullVault is a vault whose store becomes full at some put of some work.
type fullVault struct {
	s      *fillingStore
	v      *repo.Vault
	l      *localledger.Ledger
	other  *repo.Vault     // of the same account, with a recovery point
	source repo.PointID    // in it
	ids    [3]repo.PointID // the second one is deleted
	have   [3]files
	copied files                  // of the source
	points map[repo.PointID]files // that are to be there
}

func newFullVault(t *testing.T) *fullVault {
	f := &fullVault{s: &fillingStore{Store: mem.New(), left: -1}, l: localledger.New(localledger.Options{}), points: map[repo.PointID]files{}}
	f.v = create(t, f.s, f.l, small())
	g := newGenerator(21)
	f.have[0] = files{"large": randomBytes(700_000), "small": randomBytes(70)}
	f.have[1] = g.files(60)
	f.have[2] = files{}
	for key, data := range f.have[1] {
		if g.IntN(2) == 0 {
			f.have[2][key] = data
		}
	}
	for i := range f.ids {
		f.ids[i] = mustBackup(t, f.v, "", f.have[i], nil)
		f.points[f.ids[i]] = f.have[i]
	}
	if err := remove(t.Context(), f.v, f.l, f.ids[1]); err != nil {
		t.Fatal(err)
	}
	delete(f.points, f.ids[1])
	o := small()
	o.UUID = [16]byte{8}
	f.other = create(t, mem.New(), localledger.New(localledger.Options{}), o)
	f.copied = files{"large": randomBytes(600_000)}
	maps.Copy(f.copied, f.have[1])
	f.source = mustBackup(t, f.other, "", f.copied, nil)
	return f
}

// restores demands that every recovery point can be restored.
func (f *fullVault) restores(ctx context.Context) error {
	ids, err := f.v.PointIDs(ctx)
	if err == nil && len(ids) != len(f.points) {
		err = fmt.Errorf("%d recovery points, want %d", len(ids), len(f.points))
	}
	for id, want := range f.points {
		err = errors.Join(err, verify(ctx, f.v, id, want))
	}
	return err
}

// TestFullDisk_AtEveryPut fills the store at each put of each kind of work in turn: for that one put, for all from there on, or until
// something is deleted. The work fails because of that or gets along, all recovery points can be restored meanwhile, and with space
// the same vault does the work, and gives back whatever the attempt has left.
func TestFullDisk_AtEveryPut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*testing.T, *fullVault)
		work   func(context.Context, *fullVault) error
		copes  bool // may succeed although a put failed
	}{
		"backup": {work: func(ctx context.Context, f *fullVault) error {
			have := newGenerator(22).change(f.have[2])
			have["new"] = f.have[0]["large"][:600_000]
			id, err := backup(ctx, f.v, f.ids[2], have, f.have[2])
			if err == nil {
				f.points[id] = have
			}
			return err
		}},
		"copy": {work: func(ctx context.Context, f *fullVault) error {
			id, _, err := copyPoint(ctx, f.other, f.v, f.source)
			if err == nil {
				f.points[id] = f.copied
			}
			return err
		}},
		"cold move": {work: func(ctx context.Context, f *fullVault) error {
			id, err := moveToCold(ctx, f.v, f.l, f.ids[0])
			if err == nil {
				delete(f.points, f.ids[0])
				f.points[id] = f.have[0]
			}
			return err
		}},
		"reclaim": {copes: true, work: func(ctx context.Context, f *fullVault) error {
			_, err := f.v.Reclaim(ctx, repo.ReclaimOptions{})
			return err
		}},
		"repair": {
			damage: func(t *testing.T, f *fullVault) {
				for kind, at := range map[string]int{"d": 9, "m": 130, "x": 130, "r": 130, "f": 130} { // which parity restores
					overwrite(t, f.s.Store, names(t, f.s)[kind][0], flip(at))
				}
			},
			work: func(ctx context.Context, f *fullVault) error {
				_, err := f.v.Repair(ctx, repo.RepairOptions{Check: true, Level: repo.CheckBytes})
				return err
			},
		},
	} {
		for _, mode := range []struct {
			name         string
			stays, freed bool
		}{{"once", false, false}, {"for good", true, false}, {"until something is deleted", true, true}} {
			t.Run(name+" "+mode.name, func(t *testing.T) {
				t.Parallel()
				for n := 0; ; n++ {
					f := newFullVault(t)
					if c.damage != nil {
						c.damage(t, f)
					}
					f.s.fills(n, mode.stays, mode.freed)
					err := c.work(t.Context(), f)
					what := f.s.failed()
					if what == "" {
						if err != nil || n < 3 {
							t.Errorf("undisturbed work = %v after %d puts", err, n)
						}
						return
					}
					if err == nil && !c.copes || err != nil && !errors.Is(err, blob.ErrNoSpace) {
						t.Fatalf("put %d (%s) fails: work = %v, want %v", n, what, err, blob.ErrNoSpace)
					}
					if err := f.restores(t.Context()); err != nil {
						t.Fatalf("put %d (%s) fails: %v", n, what, err)
					}
					f.s.fills(-1, false, false)
					if err != nil {
						err = c.work(t.Context(), f)
					}
					if err == nil {
						_, err = f.v.Reclaim(t.Context(), repo.ReclaimOptions{})
					}
					if err := errors.Join(err, f.restores(t.Context()), sound(t.Context(), f.v), exact(t.Context(), f.v)); err != nil {
						t.Fatalf("put %d (%s) failed, and with space again: %v", n, what, err)
					}
				}
			})
		}
	}
}
