package trail

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/restjson"
)

// SearchTexts returns the queries for a page: for changes and for reads.
func SearchTexts(t *testing.T, in *lockfastapi.ListTrailEventsInput, after []string) (changes string, changesArgs []any, reads string, readsArgs []any) {
	t.Helper()
	q, err := newSearch("000000000000", in, &restjson.Page{After: after, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	changes, changesArgs = q.changesQuery(11)
	reads, readsArgs = (&scan{q: q}).query()
	return changes, changesArgs, reads, readsArgs
}

// LimitScan sets how many bytes of reads a page looks through.
func (s *Service) LimitScan(n int) { s.maxScan = n }

// EncodeAll compares the hand-written form of a record in which every member is filled with that of encoding/json.
func EncodeAll(t *testing.T, fill func(v any)) (got, want string) {
	t.Helper()
	r := &record{}
	fill(r)
	r.RequestParameters, r.ResponseElements = json.RawMessage(`{"a":1}`), nil
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var e encoder
	e.record(r)
	return string(e.buf), string(text)
}

// Waiting returns how many calls wait for the writer.
func (s *Service) Waiting() (writes, reads int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue.writes), len(s.queue.reads.all)
}

// Flush waits until the reads that were recorded are written.
func (s *Service) Flush(ctx context.Context) { s.flush(ctx) }

// MaxReads is how many reads may wait.
const MaxReads = maxReads
