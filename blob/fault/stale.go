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

// stale returns the listing as it was before the last n changes, or before those of them that were puts or deletions.
func (s *Store) stale(list iter.Seq2[blob.Info, error], prefix string, n int64, puts, deletions bool) iter.Seq2[blob.Info, error] {
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
			switch {
			case c.put && puts:
				delete(was, c.Name)
			case !c.put && deletions && strings.HasPrefix(string(c.Name), prefix):
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

// repeated yields everything twice.
func repeated(list iter.Seq2[blob.Info, error]) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range list {
			if !yield(info, err) || err != nil || !yield(info, nil) {
				return
			}
		}
	}
}

// reversed yields the last first.
func reversed(list iter.Seq2[blob.Info, error]) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var all []blob.Info
		for info, err := range list {
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			all = append(all, info)
		}
		for _, info := range slices.Backward(all) {
			if !yield(info, nil) {
				return
			}
		}
	}
}
