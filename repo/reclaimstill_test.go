package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// ofReclaim marks the context of the reclaim that a [standstill] stops.
type ofReclaim struct{}

// standstill lets the calls of a reclaim to its store and its ledger pass until one of them: that one and all later ones wait
// until resume is closed. Calls of others pass. The renewals of the reclaim's session, which go by a clock, are not counted.
type standstill struct {
	at      int  // stand at this call, counted from 1
	shared  bool // with the writers, which is the process: calls that all its sessions make as one are not counted either
	reached chan struct{}
	resume  chan struct{}

	mu    sync.Mutex
	calls []string // guarded by mu
}

func (s *standstill) before(ctx context.Context, what string) {
	if ctx.Value(ofReclaim{}) == nil || what == "ledger renew" || s.shared && ofAll(what) {
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, what)
	n := len(s.calls)
	s.mu.Unlock()
	if n == s.at {
		close(s.reached)
	}
	if n >= s.at {
		<-s.resume
	}
}

// ofAll reports whether a call reads what is new in the ledger, or the segment that it names. One session of a process does that
// at a time; who needs it meanwhile, waits for that call as long as its context lasts, and then makes its own.
func ofAll(what string) bool {
	return what == "ledger changes" || what == "ledger damages" || strings.HasPrefix(what, "get x/")
}

// where names the call at which the reclaim stands.
func (s *standstill) where() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("call %d (%s)", s.at, s.calls[s.at-1])
}

// reclaimable is a vault with everything that a reclaim has to do with.
type reclaimable struct {
	*machine
	v    *repo.Vault
	kept repo.PointID
	have files
	w    *repo.Writer // of a backup that has captured running
	runs files
}

// newReclaimable makes packs that are wholly dead, packs and bundles that are half dead, and what is left of a backup that was
// given up; a backup is running.
func newReclaimable(t *testing.T) reclaimable {
	t.Helper()
	m := newMachine(0, suspend)
	v, err := m.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, second := manySmall(21)
	for key := range first {
		if key >= "f150" {
			delete(first, key)
			delete(second, key)
		}
	}
	g := newGenerator(22)
	for i := range 8 {
		key := fmt.Sprintf("large%d", i)
		first[key] = g.data(20_000)
		if second[key] = first[key]; i%2 == 0 {
			second[key] = g.data(20_000)
		}
	}
	dead, err := m.backup(t.Context(), v, "", files{"alone": randomBytes(50_000)}, nil)
	var a, kept repo.PointID
	if err == nil {
		a, err = m.backup(t.Context(), v, "", first, nil)
	}
	if err == nil {
		kept, err = m.backup(t.Context(), v, a, second, first)
	}
	if err == nil {
		err = errors.Join(m.remove(t.Context(), v, dead), m.remove(t.Context(), v, a))
	}
	if err != nil {
		t.Fatal(err)
	}
	writer := func(have files) *repo.Writer {
		w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
		if err == nil {
			err = capture(t.Context(), w, have, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	lost := writer(files{"given up": randomBytes(10_000)})
	_, err = lost.Prepare(t.Context(), repo.Facts{})
	if err := errors.Join(err, lost.Abort(t.Context())); err != nil {
		t.Fatal(err)
	}
	runs := files{"running": randomBytes(20_000)}
	return reclaimable{m, v, kept, second, writer(runs), runs}
}

// write ends the backup that is running and makes another one, against the recovery point that is kept.
func (r reclaimable) write(ctx context.Context) error {
	p, err := r.w.Prepare(ctx, repo.Facts{Record: &repo.PointRecord{ARN: "first"}})
	if err != nil {
		return fmt.Errorf("backup that was running: %w", err)
	}
	r.mu.Lock()
	r.expected[p.Point], r.recorded[p.Point] = r.runs, true
	r.mu.Unlock()
	if err := (machineLedger{r.ledger, r.machine}).Commit(ctx, p); err != nil {
		return fmt.Errorf("backup that was running: %w", err)
	}
	r.promised[p.Point] = true
	have := maps.Clone(r.have)
	have["large"] = randomBytes(50_000)
	_, err = r.backup(ctx, r.v, r.kept, have, r.have)
	return err
}

// TestReclaim_StallsNoWriter has a reclaim stand still at each of its calls to the store and the ledger, in turn. Meanwhile a
// backup that was running ends, and another one begins and ends.
func TestReclaim_StallsNoWriter(t *testing.T) {
	t.Parallel()
	t.Run("of their process", func(t *testing.T) {
		t.Parallel()
		for at := 1; standing(t, at, true) && !t.Failed(); at++ {
		}
	})
	t.Run("of another process", func(t *testing.T) {
		t.Parallel()
		stride := 4
		if soak() > 0 {
			stride = 1
		}
		for at := 1; standing(t, at, false) && !t.Failed(); at += stride {
		}
	})
}

// standing has a reclaim stand at a call, in the process of the writers or another one. It reports whether there are so many.
func standing(t *testing.T, at int, shared bool) bool {
	t.Helper()
	s := &standstill{at: at, shared: shared, reached: make(chan struct{}), resume: make(chan struct{})}
	r := newReclaimable(t)
	defer r.v.Close()
	collector := r.v
	if !shared {
		collector = open(t, machineStore{r.machine}, machineLedger{r.ledger, r.machine})
	}
	r.before = s.before
	var report repo.ReclaimReport
	done := make(chan error, 1)
	go func() {
		var err error
		report, err = collector.Reclaim(context.WithValue(t.Context(), ofReclaim{}, true), repo.ReclaimOptions{})
		done <- err
	}()
	more := r.reach(s, done)
	if more {
		r.writeBeside(t, s)
	}
	if err := repo.LookAtEpoch(r.v, done); err != nil {
		t.Errorf("reclaim that stood at call %d: %v", at, err)
	}
	if more {
		if err := r.restores(t.Context()); err != nil {
			t.Errorf("stood at call %d: %v", at, err)
		}
		return true
	}
	if report.BundlesSplit == 0 || report.PacksRemoved < 3 || report.PacksWritten == 0 || report.ObjectsSwept == 0 {
		t.Errorf("the reclaim had not everything to do: %+v", report)
	}
	wantSteps(t, s)
	if err := errors.Join(r.write(t.Context()), r.inspect(t.Context(), r.v)); err != nil {
		t.Error(err)
	}
	return false
}

// restores restores every recovery point there is, which are those that were not deleted.
func (r reclaimable) restores(ctx context.Context) error {
	n := 0
	for id := range r.promised {
		if r.deleting[id] {
			continue
		}
		n++
		if err := verify(ctx, r.v, id, r.expected[id]); err != nil {
			return err
		}
	}
	if n != 3 {
		return fmt.Errorf("%d recovery points were made, want 3", n)
	}
	return nil
}

// reach returns true when the reclaim stands, and false if it has ended before. Its error stays in done.
func (r reclaimable) reach(s *standstill, done chan error) bool {
	for {
		select {
		case <-s.reached:
			return true
		case err := <-done:
			done <- err
			return false
		case <-time.After(time.Millisecond):
			repo.Poke(r.v) // as a session does by itself after some seconds
		}
	}
}

// writeBeside demands that backups end while the reclaim stands, and lets it go on.
func (r reclaimable) writeBeside(t *testing.T, s *standstill) {
	t.Helper()
	written := make(chan error, 1)
	go func() { written <- r.write(t.Context()) }()
	var err error
	select {
	case err = <-written:
		close(s.resume)
	case <-time.After(time.Minute): // measures nothing: it would never end
		t.Errorf("while a reclaim stands at %s, no backup ends", s.where())
		close(s.resume)
		err = <-written
	}
	if err != nil {
		t.Errorf("while a reclaim stands at %s: %v", s.where(), err)
	}
}

// wantSteps demands that a reclaim called the store and the ledger in every way that it does.
func wantSteps(t *testing.T, s *standstill) {
	t.Helper()
	kinds := map[string]bool{}
	for _, c := range s.calls {
		kind, _, _ := strings.Cut(c, "/")
		kinds[kind] = true
	}
	for _, want := range []string{"ledger open", "ledger fence", "ledger snapshot", "ledger condemn", "ledger waiting",
		"ledger reserve", "ledger register", "ledger retire", "ledger forget", "ledger close",
		"list f", "list p", "list r", "get f", "get m", "get d", "put d", "put x", "put f", "delete d", "delete f", "delete x"} {
		if !kinds[want] {
			t.Errorf("the reclaim did not call %q, but %q", want, slices.Sorted(maps.Keys(kinds)))
		}
	}
}
