package trail

import (
	"context"
	"errors"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
)

// Bounds of the writer.
const (
	readDelay    = 500 * time.Millisecond // most that a read waits before the writer is woken
	readBatch    = 512                    // most reads in a transaction, so that writes do not wait for many
	maxReads     = 16 << 10               // most reads that wait, by number
	maxReadBytes = 16 << 20               // and by size
	writeTimeout = 10 * time.Second       // of one transaction
)

const (
	kindRead  = "read"
	kindWrite = "write"
)

// queue is what waits for the writer. Reads are written in the order in which they came.
type queue struct {
	writes    []*event
	reads     []*event
	readBytes int
	added     int64 // reads so far
	settled   int64 // reads so far that are durable or lost
	flushes   []flush
}

// flush waits for the first reads to be settled.
type flush struct {
	target int64
	done   chan struct{}
}

// Record implements [operation.Recorder].
func (s *Service) Record(ctx context.Context, c *operation.Call) {
	var suppressed int64
	if !c.Verified {
		var ok bool
		if suppressed, ok = s.strange.allow(s.Now()); !ok {
			s.metrics.suppressed.Inc()
			return
		}
	}
	e, err := s.newEvent(ctx, c, suppressed)
	if err != nil {
		s.Log.ErrorContext(ctx, "call not recorded", "error", err)
		s.metrics.lost.WithLabelValues(kindWrite).Inc()
		return
	}
	if e.readOnly || !c.Verified {
		s.addRead(e)
		return
	}
	e.done = make(chan struct{})
	if !s.addWrite(e) {
		s.lose(errClosed, e)
		return
	}
	<-e.done
}

var errClosed = errors.New("the log of calls is closed")

func (s *Service) addWrite(e *event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queue.writes = append(s.queue.writes, e)
	s.poke()
	return true
}

// addRead never waits: what does not fit is lost.
func (s *Service) addRead(e *event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	if s.closed || len(q.reads) >= maxReads || q.readBytes+len(e.record) > maxReadBytes {
		s.metrics.lost.WithLabelValues(kindRead).Inc()
		return
	}
	q.reads = append(q.reads, e)
	q.readBytes += len(e.record)
	q.added++
	switch len(q.reads) {
	case 1:
		time.AfterFunc(readDelay, s.poke)
	case readBatch:
		s.poke()
	}
}

// poke wakes the writer.
func (s *Service) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// flush waits until all reads that were recorded before are durable or lost, or ctx is done.
func (s *Service) flush(ctx context.Context) {
	s.mu.Lock()
	f := flush{target: s.queue.added, done: make(chan struct{})}
	if s.queue.settled >= f.target {
		s.mu.Unlock()
		return
	}
	s.queue.flushes = append(s.queue.flushes, f)
	s.mu.Unlock()
	s.poke()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}

// write is the writer: it takes what waits until the service is closed and nothing waits any more.
func (s *Service) write() {
	defer close(s.stopped)
	for range s.wake {
		for {
			batch, reads, closed := s.take()
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			s.keep(batch)
			s.settle(batch, reads)
		}
	}
}

// take takes all writes and a batch of reads.
func (s *Service) take() (batch []*event, reads int, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	batch, q.writes = q.writes, nil
	reads = min(len(q.reads), readBatch)
	for _, e := range q.reads[:reads] {
		q.readBytes -= len(e.record)
		batch = append(batch, e)
	}
	if q.reads = q.reads[reads:]; len(q.reads) == 0 {
		q.reads = nil
	}
	return batch, reads, s.closed
}

// settle tells those who wait.
func (s *Service) settle(batch []*event, reads int) {
	for _, e := range batch {
		if e.done != nil {
			close(e.done)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	q.settled += int64(reads)
	waiting := q.flushes[:0]
	for _, f := range q.flushes {
		if f.target <= q.settled {
			close(f.done)
		} else {
			waiting = append(waiting, f)
		}
	}
	q.flushes = waiting
}

// keep writes events in one transaction. If it is not the database as a whole that fails, each is tried alone, so that one
// event cannot take the others with it.
func (s *Service) keep(batch []*event) {
	err := s.insert(batch)
	switch {
	case err == nil:
		s.count(batch)
	case len(batch) == 1 || errors.Is(err, meta.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded):
		s.lose(err, batch...)
	default:
		for _, e := range batch {
			s.keep([]*event{e})
		}
	}
}

func (s *Service) insert(batch []*event) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return insert(ctx, tx, batch) })
}

func (s *Service) count(batch []*event) {
	for _, e := range batch {
		s.metrics.events.WithLabelValues(e.kind()).Inc()
	}
}

// lose says that calls are missing from the trail. What they did has been done.
func (s *Service) lose(err error, batch ...*event) {
	reads := 0
	for _, e := range batch {
		s.metrics.lost.WithLabelValues(e.kind()).Inc()
		if e.done == nil {
			reads++
			continue
		}
		s.Log.Error("call is missing from the log of calls", "request_id", e.requestID, "operation", e.name,
			"account", e.account, "user", e.user, "result", e.code, "error", err)
	}
	if reads > 0 {
		s.Log.Warn("reads are missing from the log of calls", "count", reads, "error", err)
	}
}

// kind is the care that an event is kept with.
func (e *event) kind() string {
	if e.done != nil {
		return kindWrite
	}
	return kindRead
}
