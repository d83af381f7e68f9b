package fault

import (
	"iter"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/blob"
)

// changed is a Put or Delete that has been done.
type changed struct {
	blob.Info
	put bool
}

func (s *Store) note(c changed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = append(s.changes, c)
}

// stale returns the listing as it was before the last n changes.
func (s *Store) stale(list iter.Seq2[blob.Info, error], prefix string, n int64) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		was := map[blob.Name]blob.Info{}
		for info, err := range list {
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			was[info.Name] = info
		}
		for _, c := range s.last(n) {
			if c.put {
				delete(was, c.Name)
			} else if strings.HasPrefix(string(c.Name), prefix) {
				was[c.Name] = c.Info
			}
		}
		names := make([]blob.Name, 0, len(was))
		for name := range was {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(was[name], nil) {
				return
			}
		}
	}
}

// last returns the last n changes, the latest first.
func (s *Store) last(n int64) []changed {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := slices.Clone(s.changes[len(s.changes)-int(min(n, int64(len(s.changes)))):])
	slices.Reverse(last)
	return last
}
