package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// smallDisk is a store with room for so many bytes; 0 is no bound.
type smallDisk struct {
	blob.Store

	mu   sync.Mutex
	room int64
	used int64
	size map[blob.Name]int64
	log  []string // puts and deletes of packs, since it was cleared
}

func newSmallDisk() *smallDisk { return &smallDisk{Store: mem.New(), size: map[blob.Name]int64{}} }

func (s *smallDisk) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room > 0 && s.used+size > s.room {
		return fmt.Errorf("put %s: %w", name, blob.ErrNoSpace)
	}
	err := s.Store.Put(ctx, name, r, size)
	if err == nil {
		s.used += size
		s.size[name] = size
		s.log = append(s.log, "put "+string(name))
	}
	return err
}

// PutStream takes its room while it is read.
func (s *smallDisk) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	taken := &takingRoom{s: s, r: r}
	err := s.Store.(blob.Streamer).PutStream(ctx, name, taken)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.used -= taken.n
		return fmt.Errorf("put %s: %w", name, err)
	}
	s.size[name] = taken.n
	s.log = append(s.log, "put "+string(name))
	return nil
}

type takingRoom struct {
	s *smallDisk
	r io.Reader
	n int64
}

func (t *takingRoom) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.room > 0 && t.s.used+int64(n) > t.s.room {
		return 0, blob.ErrNoSpace
	}
	t.s.used += int64(n)
	t.n += int64(n)
	return n, err
}

func (s *smallDisk) Delete(ctx context.Context, name blob.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Store.Delete(ctx, name)
	if err == nil {
		s.used -= s.size[name]
		delete(s.size, name)
		s.log = append(s.log, "delete "+string(name))
	}
	return err
}

// fill leaves so many bytes of room.
func (s *smallDisk) fill(room int64) (used int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room, s.log = s.used+room, nil
	return s.used
}

func TestReclaim_FullDiskWithoutRoomForAnything(t *testing.T) {
	t.Parallel()
	s, l := newSmallDisk(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	g := newGenerator(11)
	old, kept := g.files(300), g.files(40)
	gone, stays := mustBackup(t, v, "", old, nil), mustBackup(t, v, "", kept, nil)
	before := s.fill(0)
	if _, err := backup(t.Context(), v, "", g.files(10), nil); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("backup on a full disk = %v, want %v", err, blob.ErrNoSpace)
	}
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	s.fill(0) // what the manifest took is taken by another program
	report, err := v.Reclaim(t.Context(), repo.ReclaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.PacksRemoved == 0 || s.used > before*2/3 {
		t.Errorf("reclaim removed %d packs, %d of %d bytes are used", report.PacksRemoved, s.used, before)
	}
	freed := false
	for _, step := range s.log {
		if freed = freed || strings.HasPrefix(step, "delete d/"); strings.HasPrefix(step, "put") && !freed {
			t.Errorf("%q before any pack was removed", step)
		}
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
	mustBackup(t, v, "", g.files(10), nil)
}

// TestReclaim_FullDiskWithRoomForOnePack has packs that are partly dead, all of which could not be moved at once.
func TestReclaim_FullDiskWithRoomForOnePack(t *testing.T) {
	t.Parallel()
	s, l := newSmallDisk(), localledger.New(localledger.Options{})
	v := create(t, s, l, small())
	g := newGenerator(12)
	all := g.files(1500)
	kept := g.third(all)
	gone := mustBackup(t, v, "", all, nil)
	stays := mustBackup(t, v, "", kept, nil)
	if err := remove(t.Context(), v, l, gone); err != nil {
		t.Fatal(err)
	}
	before := s.fill(600 << 10) // a pack is 512 KiB
	report, err := v.Reclaim(t.Context(), repo.ReclaimOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.BytesWritten < 600<<10 {
		t.Fatalf("%d bytes moved, which had room at once", report.BytesWritten)
	}
	if s.used > before*3/5 {
		t.Errorf("%d of %d bytes are still used", s.used, before)
	}
	if err := errors.Join(verify(t.Context(), v, stays, kept), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
}
