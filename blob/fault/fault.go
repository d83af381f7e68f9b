// Package fault wraps a [blob.Store] with the failures that stores have in real life, for tests.
//
// [Store] fails by rules: it refuses calls, performs them and reports failure all the same (a lost answer), delivers fewer or
// other bytes than there are, lists what was there a moment ago, takes its time. A rule names the operation, the blobs and
// the calls that it hits:
//
//	s := fault.New(mem.New(),
//		fault.Rule{Op: fault.Put, Name: "r/*", First: 2, Times: 1, Kind: fault.FailAfter}, // the second manifest
//		fault.Rule{Op: fault.Get, Name: "d/*/*", Kind: fault.Flip, N: 4711},               // bit rot in all packs
//	)
//
// [Recorder] remembers the order of all changes and gives the store as it was after any of them, for tests that cut a
// program at every step. How a file system loses what was not synced is simulated by package crashfs instead.
package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"sync"
	"time"

	"github.com/lockfast/lockfast/blob"
)

// ErrInjected is the error of a rule that does not say another.
var ErrInjected = errors.New("injected fault")

// Op is an operation of a store.
type Op int

// The operations. Any stands for all of them.
const (
	Any Op = iota
	Put
	Get
	Stat
	List
	Delete
	Sum
)

// Kind is what a [Rule] does to a call.
type Kind int

// The kinds of faults. N and Err are the fields of [Rule].
const (
	Fail      Kind = iota // without effect, with Err
	FailAfter             // performed, and then Err all the same, as after a lost answer
	Short                 // Get: N bytes, then Err; List: N blobs, then Err
	Truncate              // Get: N bytes, then the end; List: N blobs, then the end; Put: N bytes are stored, without error
	Flip                  // Get, Put: bit N, counted from the first byte read or stored, is inverted
	Slow                  // Delay passes before the call, or its context ends
	Stale                 // List: as before the last N changes made through this store
	Lag                   // List: what was put by the last N changes is missing; what they deleted is, too
	Linger                // List: what the last N changes deleted is still there
	Repeat                // List: every blob stands there twice
	Unsorted              // List: in the opposite order
)

// Rule says which calls fail and how. Several rules may hit one call.
type Rule struct {
	Op    Op
	Name  string        // pattern of path.Match for the name, of List for the prefix; empty for all
	First int           // the first matching call that is hit, counted from 1; 0 means 1
	Times int           // how many matching calls are hit from there on; 0 means all
	Kind  Kind          // what happens
	Err   error         // nil means ErrInjected; blob.ErrNoSpace makes the store full
	N     int64         // bytes, bit, blobs or changes, by Kind
	Delay time.Duration // of Slow
}

// Store is a store that fails by rules.
type Store struct {
	store blob.Store

	mu      sync.Mutex
	rules   []*counted // guarded by mu
	calls   map[Op]int // guarded by mu
	changes []changed  // guarded by mu; what Stale goes back on
}

type counted struct {
	Rule
	seen int // matching calls
}

// New wraps a store.
func New(store blob.Store, rules ...Rule) *Store {
	s := &Store{store: store, calls: map[Op]int{}}
	s.Add(rules...)
	return s
}

// Add adds rules, whose calls are counted from now on. It panics if a Name is no pattern.
func (s *Store) Add(rules ...Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rules {
		if _, err := path.Match(r.Name, ""); err != nil {
			panic(fmt.Sprintf("fault: pattern %q: %v", r.Name, err))
		}
		r.First = max(r.First, 1)
		if r.Err == nil {
			r.Err = ErrInjected
		}
		s.rules = append(s.rules, &counted{Rule: r})
	}
}

// Clear removes all rules: the store is well again.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// Calls returns how often the operation has been called, and for Any the sum of all.
func (s *Store) Calls(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// hits counts a call and returns the rules that hit it.
func (s *Store) hits(op Op, name string) hits {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	s.calls[Any]++
	var hit hits
	for _, r := range s.rules {
		matches, _ := path.Match(r.Name, name) // the pattern is checked by Add
		if r.Op != Any && r.Op != op || r.Name != "" && !matches {
			continue
		}
		r.seen++
		if r.seen >= r.First && (r.Times == 0 || r.seen < r.First+r.Times) {
			hit = append(hit, r.Rule)
		}
	}
	return hit
}

type hits []Rule

// before waits and fails as the rules say that come before a call.
func (h hits) before(ctx context.Context) error {
	for _, r := range h {
		switch r.Kind {
		case Fail:
			return r.Err
		case Slow:
			timer := time.NewTimer(r.Delay)
			defer timer.Stop()
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-timer.C:
			}
		}
	}
	return nil
}

// after returns the error of a call that has succeeded.
func (h hits) after() error {
	for _, r := range h {
		if r.Kind == FailAfter {
			return r.Err
		}
	}
	return nil
}

func (h hits) has(kinds ...Kind) bool {
	for _, r := range h {
		for _, k := range kinds {
			if r.Kind == k {
				return true
			}
		}
	}
	return false
}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	hit := s.hits(Put, string(name))
	if err := hit.before(ctx); err != nil {
		return err
	}
	if hit.has(Truncate, Flip) {
		data, err := io.ReadAll(io.LimitReader(r, size))
		if err != nil {
			return err
		}
		data = hit.damage(data)
		r, size = bytes.NewReader(data), int64(len(data))
	}
	if err := s.store.Put(ctx, name, r, size); err != nil {
		return err
	}
	s.note(changed{Info: blob.Info{Name: name, Size: size}, put: true})
	return hit.after()
}

// Streamer lets [blob.AsStreamer] see through. A stream is hit by the rules of Put.
func (s *Store) Streamer() (blob.Streamer, bool) {
	inner, ok := blob.AsStreamer(s.store)
	return streamer{inner, s}, ok
}

type streamer struct {
	inner blob.Streamer
	s     *Store
}

// PutStream implements [blob.Streamer].
func (f streamer) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	hit := f.s.hits(Put, string(name))
	if err := hit.before(ctx); err != nil {
		return err
	}
	if hit.has(Truncate, Flip) {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		r = bytes.NewReader(hit.damage(data))
	}
	n := &counting{Reader: r}
	if err := f.inner.PutStream(ctx, name, n); err != nil {
		return err
	}
	f.s.note(changed{Info: blob.Info{Name: name, Size: n.n}, put: true})
	return hit.after()
}

// counting counts the bytes read.
type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// damage changes the bytes that Put stores.
func (h hits) damage(data []byte) []byte {
	for _, r := range h {
		switch {
		case r.Kind == Truncate:
			data = data[:min(r.N, int64(len(data)))]
		case r.Kind == Flip && r.N/8 < int64(len(data)):
			data[r.N/8] ^= 1 << (r.N % 8)
		}
	}
	return data
}

// Get implements [blob.Store].
func (s *Store) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	hit := s.hits(Get, string(name))
	if err := hit.before(ctx); err != nil {
		return nil, err
	}
	r, err := s.store.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	if err := hit.after(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	for _, rule := range hit {
		switch rule.Kind {
		case Short:
			r = &faulty{ReadCloser: r, left: rule.N, end: rule.Err}
		case Truncate:
			r = &faulty{ReadCloser: r, left: rule.N, end: io.EOF}
		case Flip:
			r = &flipped{ReadCloser: r, bit: rule.N}
		}
	}
	return r, nil
}

// faulty ends early.
type faulty struct {
	io.ReadCloser
	left int64
	end  error
}

func (f *faulty) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, f.end
	}
	n, err := f.ReadCloser.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// flipped inverts a bit.
type flipped struct {
	io.ReadCloser
	bit int64 // counted from what is read next
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if f.bit >= 0 && f.bit/8 < int64(n) {
		p[f.bit/8] ^= 1 << (f.bit % 8)
	}
	f.bit -= 8 * int64(n)
	return n, err
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	hit := s.hits(Stat, string(name))
	if err := hit.before(ctx); err != nil {
		return blob.Info{}, err
	}
	info, err := s.store.Stat(ctx, name)
	if err == nil {
		err = hit.after()
	}
	if err != nil {
		return blob.Info{}, err
	}
	return info, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, name blob.Name) error {
	hit := s.hits(Delete, string(name))
	if err := hit.before(ctx); err != nil {
		return err
	}
	info, statErr := s.store.Stat(ctx, name)
	if err := s.store.Delete(ctx, name); err != nil {
		return err
	}
	if statErr == nil {
		s.note(changed{Info: info})
	}
	return hit.after()
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		hit := s.hits(List, prefix)
		if err := hit.before(ctx); err != nil {
			yield(blob.Info{}, err)
			return
		}
		left, end := int64(-1), error(nil)
		list := s.store.List(ctx, prefix)
		for _, r := range hit {
			switch r.Kind {
			case Short:
				left, end = r.N, r.Err
			case Truncate:
				left, end = r.N, nil
			case Stale, Lag, Linger:
				list = s.stale(list, prefix, r.N, r.Kind != Linger, r.Kind != Lag)
			case Repeat:
				list = repeated(list)
			case Unsorted:
				list = reversed(list)
			}
		}
		for info, err := range list {
			if left == 0 {
				break
			}
			left--
			if !yield(info, err) || err != nil {
				return
			}
		}
		if end == nil {
			end = hit.after()
		}
		if end != nil {
			yield(blob.Info{}, end)
		}
	}
}

// Retainer lets [blob.AsRetainer] see through.
func (s *Store) Retainer() (blob.Retainer, bool) { return blob.AsRetainer(s.store) }

// Summer lets [blob.AsSummer] see through.
func (s *Store) Summer() (blob.Summer, bool) {
	inner, ok := blob.AsSummer(s.store)
	return summer{inner, s}, ok
}

type summer struct {
	blob.Summer
	s *Store
}

// Sum implements [blob.Summer].
func (f summer) Sum(ctx context.Context, name blob.Name) ([]byte, error) {
	hit := f.s.hits(Sum, string(name))
	if err := hit.before(ctx); err != nil {
		return nil, err
	}
	sum, err := f.Summer.Sum(ctx, name)
	if err == nil {
		err = hit.after()
	}
	if err != nil {
		return nil, err
	}
	return sum, nil
}
