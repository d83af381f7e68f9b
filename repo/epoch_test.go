package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/pack"
)

// heldLedger is the ledger of a node whose sessions cannot acknowledge once an object is in a state.
type heldLedger struct {
	repo.Ledger
	state   repo.ObjectState
	release chan struct{} // closed when they can again
}

func (l *heldLedger) Acknowledge(ctx context.Context, id repo.SessionID, pins []byte) (uint64, error) {
	if len(inState(ctx, l.Ledger, l.state)) > 0 {
		select {
		case <-l.release:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return l.Ledger.Acknowledge(ctx, id, pins)
}

// inState returns the objects of a ledger that are in a state.
func inState(ctx context.Context, l repo.Ledger, state repo.ObjectState) []repo.Object {
	objects, _, _ := l.Changes(ctx, 0)
	return slices.DeleteFunc(objects, func(o repo.Object) bool { return o.State != state })
}

// watchedLedger is the ledger of a node that says when a reclaim waits for sessions while an object is in a state.
type watchedLedger struct {
	repo.Ledger
	state repo.ObjectState
	waits func()
}

func (l *watchedLedger) Waiting(ctx context.Context, epoch uint64) ([]repo.Session, error) {
	sessions, err := l.Ledger.Waiting(ctx, epoch)
	if len(sessions) > 0 && len(inState(ctx, l.Ledger, l.state)) > 0 {
		l.waits()
	}
	return sessions, err
}

// halfNeeded has a vault of which one of two recovery points is deleted, so that packs have to be moved.
func halfNeeded(t *testing.T, v *repo.Vault, l repo.Ledger) (stays repo.PointID, kept files) {
	t.Helper()
	g := newGenerator(3)
	all := g.files(300)
	kept = files{}
	for key, data := range all {
		if g.IntN(2) == 0 {
			kept[key] = data
		}
	}
	gone := mustBackup(t, v, "", all, nil)
	stays = mustBackup(t, v, "", kept, nil)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	return stays, kept
}

// TestReclaim_WaitsForSessionsThatHoldAnOldEpoch has a reader on another node that does not acknowledge what was condemned, or
// what was retired. Until it does, nothing is retired, or removed, and it reads everything where it was.
func TestReclaim_WaitsForSessionsThatHoldAnOldEpoch(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]repo.ObjectState{"condemned": repo.ObjectCondemned, "retired": repo.ObjectRetired} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, s, l := newVault(t)
			id, want := halfNeeded(t, v, l)
			before := names(t, s)
			waits, release := make(chan struct{}), make(chan struct{})
			a := another(t, s, &watchedLedger{Ledger: l, state: state, waits: sync.OnceFunc(func() { close(waits) })})
			b := another(t, s, &heldLedger{Ledger: l, state: state, release: release})
			p := opened(t, b, id)
			reclaimed := make(chan error, 1)
			go func() {
				_, err := a.Reclaim(t.Context(), repo.ReclaimOptions{})
				reclaimed <- err
			}()
			looked := make(chan error, 1)
			go func() { looked <- repo.LookAtEpoch(b, reclaimed) }()
			select {
			case <-waits:
			case err := <-looked:
				t.Fatalf("reclaim = %v, and has not waited for the reader", err)
			}
			for _, kind := range []string{"d", "m"} {
				if after := names(t, s)[kind]; slices.ContainsFunc(before[kind], func(n blob.Name) bool { return !slices.Contains(after, n) }) {
					t.Errorf("packs that a session may look for were removed: %v of %v are left", after, before[kind])
				}
			}
			waiting := map[repo.ID]bool{}
			for _, o := range inState(t.Context(), l, state) {
				waiting[o.ID] = o.Kind == repo.ObjectData || o.Kind == repo.ObjectMeta
			}
			if n := len(inState(t.Context(), l, repo.ObjectRetired)); state == repo.ObjectCondemned && n > 0 {
				t.Errorf("%d objects were retired that a session may rely on", n)
			}
			if got, err := fetch(t.Context(), p); err != nil || want.equal(got) != nil {
				t.Errorf("restore by the reader = %v, %v", err, want.equal(got))
			}
			close(release)
			if err := <-looked; err != nil {
				t.Fatal(err)
			}
			if got, err := fetch(t.Context(), p); err != nil || want.equal(got) != nil {
				t.Errorf("restore by the reader after the reclaim = %v, %v", err, want.equal(got))
			}
			if left := inState(t.Context(), l, state); state == repo.ObjectCondemned && len(left) > 0 {
				t.Errorf("%d objects are left in state %d", len(left), state)
			}
			gone := 0
			for _, name := range append(before["d"], before["m"]...) {
				if _, id, err := pack.ParseName(string(name)); err != nil || !waiting[repo.ID(id)] {
					continue
				}
				gone++
				if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotExist) {
					t.Errorf("Stat(%s), which the reader held, = %v after the reclaim, want ErrNotExist", name, err)
				}
			}
			if gone == 0 {
				t.Error("the reader held no pack")
			}
		})
	}
}

// lateStore stands still before it puts a refset.
type lateStore struct {
	blob.Store
	reached, release chan struct{}
}

func (s *lateStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(name), "f/") {
		close(s.reached)
		<-s.release
	}
	return s.Store.Put(ctx, name, bytes.NewReader(b), size)
}

// TestReclaim_RemembersWhatAnOlderSessionMayName has a writer on another node that knows its refset and has not put it when a
// reclaim moves what it names. Where that went stays known until the session is over, and no longer.
func TestReclaim_RemembersWhatAnOlderSessionMayName(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	_, have := halfNeeded(t, v, l)
	late := &lateStore{Store: s, reached: make(chan struct{}), release: make(chan struct{})}
	b := another(t, late, l)
	made := make(chan error, 1)
	var id repo.PointID
	go func() {
		var err error
		id, err = backup(t.Context(), b, "", have, nil) // relies on what the other point has
		made <- err
	}()
	select {
	case <-late.reached:
	case err := <-made:
		t.Fatalf("backup = %v, and has put no refset", err)
	}
	reclaimed := make(chan error, 1)
	go func() {
		_, err := v.Reclaim(t.Context(), repo.ReclaimOptions{})
		reclaimed <- err
	}()
	if err := repo.LookAtEpoch(b, reclaimed); err != nil {
		t.Fatal(err)
	}
	if len(inState(t.Context(), l, repo.ObjectRetired)) == 0 {
		t.Error("nothing is known of where packs went that the writer may name")
	}
	close(late.release)
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	c := another(t, s, l)
	if err := errors.Join(verify(t.Context(), c, id, have), sound(t.Context(), c)); err != nil {
		t.Error(err)
	}
	mustReclaim(t, c)
	if left := inState(t.Context(), l, repo.ObjectRetired); len(left) > 0 {
		t.Errorf("%d retired objects are remembered after the session", len(left))
	}
	if err := errors.Join(verify(t.Context(), c, id, have), sound(t.Context(), c)); err != nil {
		t.Error(err)
	}
}
