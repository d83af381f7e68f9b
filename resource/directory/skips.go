package directory

import (
	"bytes"
	"sync"

	"github.com/lockfast/lockfast/resource"
)

// skips is a bounded list of skipped items. It may be used concurrently.
type skips struct {
	mu   sync.Mutex
	list []resource.Skip
	more int64
}

func (s *skips) add(path []byte, reason string, partial bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == resource.MaxSkips {
		s.more++
		return
	}
	s.list = append(s.list, resource.Skip{Path: bytes.Clone(path), Reason: reason, Partial: partial})
}
