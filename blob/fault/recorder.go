package fault

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
)

// Recorder is a [blob.Store] that remembers its changes, the Puts and Deletes that succeeded, in the order in which they
// ended, and gives the store as it was after any number of them:
//
//	rec := fault.NewRecorder(mem.New())
//	...                                          // work on rec; promised := rec.Len() after each step
//	for n := range rec.Len() + 1 {
//		store := rec.Cut(n, fault.Applied)   // reopen, check: what was promised by n must be there
//	}
//
// A change that had ended when another began comes before it; so what a caller was promised when Len was n is in every
// Cut of n or more changes.
type Recorder struct {
	store *mem.Store
	start *mem.Store // as it was when recording began

	mu  sync.Mutex
	log []recorded // guarded by mu
}

type recorded struct {
	name  blob.Name
	data  []byte // nil for Delete
	begun int    // length of the log when it began
}

// Mode says what becomes of the last of the changes of a [Recorder.Cut], and of others under way with it.
type Mode int

// The modes. With n = 0 there is no last change, and all are alike.
const (
	Applied Mode = iota // it is there
	Dropped             // it is not there, as if n were one less
	Torn                // of a Put the first half of the bytes is there, which only a store without honour does; a Delete is not there
	Ahead               // it is not there, but all later changes are that had begun before it ended
)

// NewRecorder records the changes to a store from now on. The store is not to be changed otherwise.
func NewRecorder(store *mem.Store) *Recorder {
	return &Recorder{store: store, start: store.Clone()}
}

// Len returns the number of changes so far.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.log)
}

// Step describes change i, counted from 0, for messages of tests. It is the last of Cut(i+1).
func (r *Recorder) Step(i int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i < 0 || i >= len(r.log) {
		return "no change"
	}
	if c := r.log[i]; c.data != nil {
		return fmt.Sprintf("%d: put %s, %d bytes", i, c.name, len(c.data))
	}
	return fmt.Sprintf("%d: delete %s", i, r.log[i].name)
}

// Cut returns a new store that holds what was there after the first n changes.
func (r *Recorder) Cut(n int, mode Mode) *mem.Store {
	r.mu.Lock()
	log := r.log
	r.mu.Unlock()
	s := r.start.Clone()
	if n == 0 {
		return s
	}
	for _, c := range log[:n-1] {
		c.apply(s)
	}
	switch last := log[n-1]; mode {
	case Applied:
		last.apply(s)
	case Torn:
		if last.data != nil {
			s.Overwrite(last.name, last.data[:len(last.data)/2])
		}
	case Ahead:
		for _, c := range log[n:] {
			if c.begun < n && c.name != last.name {
				c.apply(s)
			}
		}
	}
	return s
}

func (c recorded) apply(s *mem.Store) {
	if c.data != nil {
		s.Overwrite(c.name, c.data)
		return
	}
	_ = s.Delete(context.Background(), c.name) // of a name that was there; cannot fail
}

// Put implements [blob.Store].
func (r *Recorder) Put(ctx context.Context, name blob.Name, from io.Reader, size int64) error {
	begun := r.Len()
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return r.put(ctx, name, data, size, begun)
}

// PutStream implements [blob.Streamer]. Until its reader has ended it cannot have had an effect.
func (r *Recorder) PutStream(ctx context.Context, name blob.Name, from io.Reader) error {
	data, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	return r.put(ctx, name, data, int64(len(data)), r.Len())
}

func (r *Recorder) put(ctx context.Context, name blob.Name, data []byte, size int64, begun int) error {
	r.mu.Lock() // so that the log has the changes in the order in which the store made them
	defer r.mu.Unlock()
	if err := r.store.Put(ctx, name, bytes.NewReader(data), size); err != nil {
		return err
	}
	r.log = append(r.log, recorded{name: name, data: data, begun: begun})
	return nil
}

// Delete implements [blob.Store]. Deleting what is absent changes nothing and is not recorded.
func (r *Recorder) Delete(ctx context.Context, name blob.Name) error {
	begun := r.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, absent := r.store.Stat(ctx, name)
	if err := r.store.Delete(ctx, name); err != nil {
		return err
	}
	if absent == nil {
		r.log = append(r.log, recorded{name: name, begun: begun})
	}
	return nil
}

// Get implements [blob.Store].
func (r *Recorder) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	return r.store.Get(ctx, name, off, n)
}

// Stat implements [blob.Store].
func (r *Recorder) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	return r.store.Stat(ctx, name)
}

// List implements [blob.Store].
func (r *Recorder) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return r.store.List(ctx, prefix)
}
