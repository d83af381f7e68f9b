package trail

import (
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

// SearchText returns the query for a page.
func SearchText(t *testing.T, in *lockfastapi.ListTrailEventsInput, after []string) (string, []any) {
	t.Helper()
	q, err := newSearch("000000000000", in, &restjson.Page{After: after, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return q.text(), append(q.args, 11)
}

// Waiting returns how many calls wait for the writer.
func (s *Service) Waiting() (writes, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue.writes), len(s.queue.reads)
}

// MaxReads is how many reads may wait.
const MaxReads = maxReads
