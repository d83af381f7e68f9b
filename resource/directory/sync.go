package directory

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// earlySync writes to disk in the background what was restored so far. What it finds is kept, because the system reports
// a failed write once only.
type earlySync struct {
	mu      sync.Mutex
	running sync.WaitGroup
	busy    bool
	err     error
}

// earlyStep is how many bytes that nobody writes to disk yet are worth a round.
const earlyStep = 128 << 20

// start begins a round on the file system of the open directory root, unless one is under way.
func (s *earlySync) start(root int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.err != nil {
		return
	}
	s.busy = true
	s.running.Go(func() {
		err := unix.Syncfs(root)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy, s.err = false, err
	})
}

// wait waits until nothing runs and returns what went wrong.
func (s *earlySync) wait() error {
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return fmt.Errorf("write to disk: %w", full(s.err))
	}
	return nil
}
