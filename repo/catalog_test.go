package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// stuck makes one call hang, whatever becomes of its context.
type stuck struct {
	armed            atomic.Bool
	reached, release chan struct{}
}

func newStuck() *stuck { return &stuck{reached: make(chan struct{}), release: make(chan struct{})} }

func (s *stuck) hang() {
	if s.armed.CompareAndSwap(true, false) {
		close(s.reached)
		<-s.release
	}
}

// stuckLedger has its answer when it hangs, which is old when it comes.
type stuckLedger struct {
	repo.Ledger
	*stuck
}

func (l stuckLedger) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	changes, revision, err := l.Ledger.Changes(ctx, since)
	l.hang()
	return changes, revision, err
}

// stuckIndex hangs when an index segment is read.
type stuckIndex struct {
	blob.Store
	*stuck
}

func (s stuckIndex) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(string(name), "x/") {
		s.hang()
	}
	return s.Store.Get(ctx, name, off, n)
}

// TestRefresh_HangsForNobodyElse has a session of a process hang while it reads what is new. Another one waits for it no longer
// than it wants to, what asks nobody does not wait, and when the answer comes, each sees what was committed before its call.
func TestRefresh_HangsForNobodyElse(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]func(s blob.Store, l repo.Ledger, h *stuck) (blob.Store, repo.Ledger){
		"ledger": func(s blob.Store, l repo.Ledger, h *stuck) (blob.Store, repo.Ledger) { return s, stuckLedger{l, h} },
		"index":  func(s blob.Store, l repo.Ledger, h *stuck) (blob.Store, repo.Ledger) { return stuckIndex{s, h}, l },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			there, s, l := newVault(t)
			g := newGenerator(51)
			old := g.files(10)
			mustBackup(t, there, "", old, nil)
			h := newStuck()
			hs, hl := hangs(s, l, h)
			v := reopen(t, hs, hl)
			mustBackup(t, there, "", g.files(10), nil) // so that there is something to read
			h.armed.Store(true)
			first := make(chan error, 1)
			go func() { first <- v.Refresh(t.Context()) }()
			<-h.reached
			have := g.files(10)
			id := mustBackup(t, there, "", have, nil) // after the answer that the first one waits for

			soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := v.OpenPoint(soon, id); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "wait for another session") {
				t.Errorf("OpenPoint beside a call that hangs = %v, want to be told at its deadline what it waited for", err)
			}
			v.LiveSegments()

			second := make(chan error, 1)
			go func() { second <- v.Refresh(t.Context()) }()
			select {
			case err := <-second:
				t.Errorf("Refresh beside a call that hangs = %v, want it to wait", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(h.release)
			if err := errors.Join(<-first, <-second, there.Refresh(t.Context())); err != nil {
				t.Fatal(err)
			}
			if got, want := v.LiveSegments(), there.LiveSegments(); got != want {
				t.Errorf("%d segments are known after the hang, want %d", got, want)
			}
			if err := verify(t.Context(), v, id, have); err != nil {
				t.Error(err)
			}
		})
	}
}

// stepping is a ledger that tells a test when somebody waits for sessions, and when packs are retired whose slots were moved.
type stepping struct {
	repo.Ledger
	waiting, retiring, retired func()
}

func (l stepping) Waiting(ctx context.Context, epoch uint64) ([]repo.Session, error) {
	l.waiting()
	return l.Ledger.Waiting(ctx, epoch)
}

func (l stepping) Retire(ctx context.Context, s repo.SessionID, rows []repo.Retirement) error {
	moved := slices.ContainsFunc(rows, func(r repo.Retirement) bool { return len(r.Remap) > 0 })
	if moved {
		l.retiring()
	}
	err := l.Ledger.Retire(ctx, s, rows)
	if moved {
		l.retired()
	}
	return err
}

// TestRefresh_RetiresWhenTheNewPlacesAreKnown has one session of a process in the middle of reading what another process moved, while
// another one asks what a recovery point needs: it is told the old places or the new ones, and not that they are damaged.
func TestRefresh_RetiresWhenTheNewPlacesAreKnown(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	h, here := newStuck(), (*repo.Vault)(nil)
	goOn, first := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	there := create(t, s, stepping{
		Ledger:   l,
		waiting:  func() { repo.Poke(here) },
		retiring: func() { once.Do(func() { h.armed.Store(true) }) },
		retired: func() {
			select {
			case <-h.reached:
			default:
				go func() { first <- here.Refresh(t.Context()) }()
				<-h.reached
				<-goOn
			}
		},
	}, small())
	all := newGenerator(52).files(200)
	kept := newGenerator(53).third(all)
	gone, stays := mustBackup(t, there, "", all, nil), mustBackup(t, there, "", kept, nil)
	here = reopen(t, stuckIndex{s, h}, l)
	w, err := here.NewWriter(t.Context(), repo.WriterOptions{}) // a session, for which the old places are remembered
	if err != nil {
		t.Fatal(err)
	}
	old, err := here.Needs(t.Context(), stays)
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(t.Context(), there, l, gone); err != nil {
		t.Fatal(err)
	}
	reclaimed := make(chan error, 1)
	go func() {
		_, err := there.Reclaim(t.Context(), repo.ReclaimOptions{})
		reclaimed <- err
	}()
	<-h.reached
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got, err := here.Needs(soon, stays); err != nil || !slices.Equal(got, old) {
		t.Errorf("what is needed, while the new places are read = %v, %v, want the old ones %v", got, err, old)
	}
	close(h.release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if got, err := here.Needs(t.Context(), stays); err != nil || slices.Equal(got, old) {
		t.Errorf("what is needed, when the new places are known = %v, %v, want others than %v", got, err, old)
	}
	close(goOn)
	if err := errors.Join(w.Abort(t.Context()), <-reclaimed, verify(t.Context(), here, stays, kept)); err != nil {
		t.Error(err)
	}
}

// wavering delays answers at random until a context ends.
type wavering struct {
	repo.Ledger
	seed uint64
	n    atomic.Uint64
}

func (l *wavering) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	changes, revision, err := l.Ledger.Changes(ctx, since)
	if rand.New(rand.NewPCG(l.seed, l.n.Add(1))).IntN(4) == 0 {
		select {
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("changes: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return changes, revision, err
}

// TestRefresh_ManyCallers has sessions give up at random, while others write: who gets an answer sees all that was committed before.
func TestRefresh_ManyCallers(t *testing.T) {
	t.Parallel()
	there, s, l := newVault(t)
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	v := reopen(t, s, &wavering{Ledger: l, seed: seed})
	g := newGenerator(seed)
	versions := make([]files, 25)
	for i := range versions {
		versions[i] = g.files(3)
	}
	var committed, given, seen atomic.Int64 // committed counts segments
	done := make(chan struct{})
	var callers sync.WaitGroup
	for n := range uint64(16) {
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1000+n))
			for {
				select {
				case <-done:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(4000))*time.Microsecond)
				want := committed.Load()
				err := v.Refresh(ctx)
				cancel()
				switch {
				case err == nil:
					seen.Add(1)
					if got := int64(v.LiveSegments()); got < want {
						t.Errorf("%d segments are known, want the %d that were committed before", got, want)
					}
				case errors.Is(err, context.DeadlineExceeded):
					given.Add(1)
				default:
					t.Errorf("Refresh = %v", err)
				}
			}
		})
	}
	for i, have := range versions {
		on := there
		if i%2 == 1 {
			on = v // adopts what it makes beside those that read it
		}
		id := mustBackup(t, on, "", have, nil)
		if err := there.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		committed.Store(int64(there.LiveSegments()))
		if err := verify(t.Context(), v, id, have); err != nil {
			t.Error(err)
		}
	}
	close(done)
	callers.Wait()
	if err := v.Refresh(t.Context()); err != nil || v.LiveSegments() != there.LiveSegments() {
		t.Errorf("%d segments are known in the end, %v, want %d", v.LiveSegments(), err, there.LiveSegments())
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
	t.Logf("%d callers were answered, %d gave up", seen.Load(), given.Load())
}
