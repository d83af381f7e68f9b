package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
)

// act is one Put or Delete of a history. It was under way from step begun to step done.
type act struct {
	name        blob.Name
	data        []byte // nil for a Delete
	begun, done int
}

// history collects the acts of one disk; those of one name come one after another.
type history struct {
	t    *testing.T
	disk *crashfs.Disk
	s    *fs.Store

	mu   sync.Mutex
	acts []act
}

func open(t *testing.T, sys fs.System) *fs.Store {
	t.Helper()
	s, err := fs.Open("disk", fs.Options{System: sys})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *history) put(name blob.Name, data string) {
	begun := h.disk.Len()
	if err := h.s.Put(h.t.Context(), name, bytes.NewReader([]byte(data)), int64(len(data))); err != nil {
		h.t.Errorf("Put(%s): %v", name, err)
		return
	}
	h.add(act{name, []byte(data), begun, h.disk.Len()})
}

func (h *history) delete(name blob.Name) {
	begun := h.disk.Len()
	if err := h.s.Delete(h.t.Context(), name); err != nil {
		h.t.Errorf("Delete(%s): %v", name, err)
		return
	}
	h.add(act{name, nil, begun, h.disk.Len()})
}

func (h *history) add(a act) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acts = append(h.acts, a)
}

// allowed returns the contents that a name may have after a cut; nil means that it may be absent.
func allowed(acts []act, name blob.Name, step int) [][]byte {
	states := [][]byte{nil}
	for _, a := range acts {
		if a.name != name || a.begun >= step && a.done > step {
			continue
		}
		if a.done <= step {
			states = [][]byte{a.data}
		} else {
			states = append(states, a.data)
		}
	}
	return states
}

// verify returns what is wrong with a store found after the first steps of the history.
func verify(ctx context.Context, s *fs.Store, acts []act, step int) error {
	found, err := all(ctx, s)
	if err != nil {
		return err
	}
	for _, a := range acts {
		data, ok := found[a.name]
		fits := false
		for _, want := range allowed(acts, a.name, step) {
			fits = fits || ok == (want != nil) && bytes.Equal(data, want)
		}
		if !fits {
			return fmt.Errorf("%s: there %v, %q, want one of %q", a.name, ok, data, allowed(acts, a.name, step))
		}
	}
	return nil
}

func all(ctx context.Context, s *fs.Store) (map[blob.Name][]byte, error) {
	found := map[blob.Name][]byte{}
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		r, err := s.Get(ctx, info.Name, 0, -1)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
		found[info.Name] = data
	}
	return found, nil
}

// cutEverywhere cuts the power at every step, in every variant, and returns the first thing found wrong.
func cutEverywhere(t *testing.T, disk *crashfs.Disk, acts []act, seed uint64) error {
	t.Helper()
	for step := range disk.Len() + 1 {
		for i, v := range crashfs.Variants(seed + uint64(step)*10) {
			after := disk.State(step, v)
			s := open(t, after)
			if err := verify(t.Context(), s, acts, step); err != nil {
				return fmt.Errorf("cut before step %s, variant %d %+v: %w", disk.Step(step), i, v, err)
			}
			if left, err := after.ReadDir(".tmp"); err == nil && len(left) > 0 {
				return fmt.Errorf("cut before step %s: Open left %v", disk.Step(step), left)
			}
			if err := worksOn(t.Context(), s); err != nil {
				return fmt.Errorf("cut before step %s, variant %d: %w", disk.Step(step), i, err)
			}
		}
	}
	return nil
}

// worksOn checks that the store takes new blobs, also into a directory that may have been lost in part.
func worksOn(ctx context.Context, s *fs.Store) error {
	for _, name := range []blob.Name{"d/00/fresh", "fresh"} {
		if err := s.Put(ctx, name, bytes.NewReader([]byte("fresh")), 5); err != nil {
			return err
		}
	}
	return s.Close()
}

func sequentialHistory(t *testing.T, sys func(*crashfs.Disk) fs.System) *history {
	disk := crashfs.New()
	h := &history{t: t, disk: disk, s: open(t, sys(disk))}
	h.put("format", "one")
	h.put("d/00/a", "the first of its directory")
	h.put("d/00/b", "")
	h.put("d/01/a", "another directory, and more bytes than the others have")
	h.delete("d/00/a")
	h.delete("d/00/never")
	h.put("d/00/a", "the name again, with other bytes")
	h.put("x/0/1", "deep")
	h.delete("x/0/1")
	h.delete("d/00/b")
	h.put("x/0/2", "last")
	if err := h.s.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func honest(d *crashfs.Disk) fs.System { return d }

func TestPowerCut_AtEveryStep(t *testing.T) {
	t.Parallel()
	h := sequentialHistory(t, honest)
	if err := cutEverywhere(t, h.disk, h.acts, rand.Uint64()); err != nil {
		t.Error(err)
	}
}

func TestPowerCut_AtEveryStepOfConcurrentWork(t *testing.T) {
	t.Parallel()
	for range soak(t, 2) {
		disk := crashfs.New()
		h := &history{t: t, disk: disk, s: open(t, disk)}
		var workers sync.WaitGroup
		for w := range 4 {
			workers.Go(func() {
				for i := range 3 {
					name := blob.Name(fmt.Sprintf("d/0%d/%d-%d", i%2, w, i))
					h.put(name, fmt.Sprintf("bytes of %s", name))
					if (w+i)%2 == 0 {
						h.delete(name)
					}
				}
			})
		}
		workers.Wait()
		if err := cutEverywhere(t, disk, h.acts, rand.Uint64()); err != nil {
			t.Error(err)
		}
	}
}

// TestKill_WhatIsSeenStays: a process killed between making a name visible and syncing it leaves the name to the next
// process, which must be able to rely on what it sees.
func TestKill_WhatIsSeenStays(t *testing.T) {
	t.Parallel()
	h := sequentialHistory(t, honest)
	for step := range h.disk.Len() + 1 {
		killed := h.disk.Kill(step)
		s := open(t, killed)
		if err := verify(t.Context(), s, h.acts, step); err != nil {
			t.Fatalf("killed before step %s: %v", h.disk.Step(step), err)
		}
		seen, err := all(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range crashfs.Variants(uint64(step)) {
			found, err := all(t.Context(), open(t, killed.State(killed.Len(), v)))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != len(seen) {
				t.Fatalf("killed before step %s, seen %d blobs, after a cut %d", h.disk.Step(step), len(seen), len(found))
			}
			for name, data := range seen {
				if !bytes.Equal(found[name], data) {
					t.Fatalf("killed before step %s: %s was seen and is lost", h.disk.Step(step), name)
				}
			}
		}
	}
}

// forgetful is a system whose named operation does nothing.
type forgetful struct {
	*crashfs.Disk
	op string
}

func (f forgetful) SyncDir(path string) error {
	if f.op == "syncdir" || f.op == "syncdir of parents" && path == "d" {
		return nil
	}
	return f.Disk.SyncDir(path)
}

func (f forgetful) Create(path string) (fs.Writer, error) {
	w, err := f.Disk.Create(path)
	if f.op == "sync" {
		return careless{w}, err
	}
	return w, err
}

type careless struct{ fs.Writer }

func (careless) Sync() error { return nil }

// TestPowerCut_FindsMissingSyncs shows that the test above would fail if the store left out a sync.
func TestPowerCut_FindsMissingSyncs(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"sync", "syncdir", "syncdir of parents"} {
		h := sequentialHistory(t, func(d *crashfs.Disk) fs.System { return forgetful{d, op} })
		if err := cutEverywhere(t, h.disk, h.acts, 1); err == nil {
			t.Errorf("without %s every cut is survived, want a loss", op)
		}
	}
}

func TestSyncError_IsFinal(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	for _, op := range []string{"create", "write", "sync", "link", "mkdir", "syncdir"} {
		disk := crashfs.New()
		s := open(t, disk)
		h := &history{t: t, disk: disk, s: s}
		h.put("d/00/before", "safe")
		failed := false
		disk.Fail(func(o, path string) error {
			if o == op && !failed {
				failed = true
				return broken
			}
			return nil
		})
		name := blob.Name("d/00/a")
		if op == "mkdir" {
			name = "d/01/a"
		}
		err := s.Put(t.Context(), name, bytes.NewReader([]byte("lost")), 4)
		if !errors.Is(err, broken) {
			t.Errorf("Put with a failing %s = %v, want the fault", op, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Stat after a failing %s = %v, want ErrNotExist", op, err)
		}
		err = s.Put(t.Context(), name, bytes.NewReader([]byte("kept")), 4)
		if op == "syncdir" {
			if !errors.Is(err, broken) {
				t.Errorf("Put into a directory whose sync failed = %v, want the fault", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, disk)
			err = s.Put(t.Context(), name, bytes.NewReader([]byte("kept")), 4)
		}
		if err != nil {
			t.Errorf("Put after a failing %s: %v", op, err)
		}
		h.add(act{name, []byte("kept"), 0, disk.Len()})
		for _, v := range crashfs.Variants(3) {
			if err := verify(t.Context(), open(t, disk.State(disk.Len(), v)), h.acts, disk.Len()); err != nil {
				t.Errorf("after a failing %s, variant %+v: %v", op, v, err)
			}
		}
	}
}

// soak returns n, multiplied by LOCKFAST_SOAK if that is a number.
func soak(t *testing.T, n int) int {
	t.Helper()
	if factor, err := strconv.Atoi(os.Getenv("LOCKFAST_SOAK")); err == nil && factor > 0 {
		return n * factor
	}
	return n
}
