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
	readDelay    = 800 * time.Millisecond // most that a read waits for others
	readBatch    = 4 << 20                // bytes of reads that wait for no others
	maxReads     = 16 << 10               // most reads that wait, by number
	maxReadBytes = 16 << 20               // and by size
	writeTimeout = 10 * time.Second       // of one transaction
)

const (
	kindRead  = "read"
	kindWrite = "write"
)

// queue is what waits for the writer.
type queue struct {
	writes  []*event
	reads   reads
	due     bool  // whether reads have waited long enough
	added   int64 // reads so far
	settled int64 // reads so far that are durable or lost
	flushes []flush
}

// batch is what one transaction writes.
type batch struct {
	writes   []*event
	segments []*segment
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
	enc := s.encoders.Get().(*encoder)
	defer s.encoders.Put(enc)
	enc.buf = enc.buf[:0]
	found, start := s.encode(ctx, enc, c, suppressed)
	if found.readOnly {
		s.addRead(&found, enc.buf)
		return
	}
	e := &event{}
	*e = found
	e.record, e.done = string(enc.buf[start:]), make(chan struct{})
	if !s.addWrite(e) {
		s.lose(errClosed, &batch{writes: []*event{e}})
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
func (s *Service) addRead(e *event, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	if s.closed || len(q.reads.all) >= maxReads || len(q.reads.text)+len(line) > maxReadBytes {
		s.metrics.lost.WithLabelValues(kindRead).Inc()
		return
	}
	q.reads.add(e, line)
	q.added++
	switch {
	case len(q.reads.all) == 1:
		time.AfterFunc(readDelay, s.readsDue)
	case len(q.reads.text) >= readBatch && !q.due:
		q.due = true
		s.poke()
	}
}

// readsDue lets the writer take the reads that wait.
func (s *Service) readsDue() {
	s.mu.Lock()
	s.queue.due = true
	s.mu.Unlock()
	s.poke()
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
	s.queue.due = true
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
	var taken reads
	for range s.wake {
		for {
			taken.empty()
			writes, closed := s.take(&taken)
			if len(writes)+len(taken.all) == 0 {
				if closed {
					return
				}
				break
			}
			s.keep(&batch{writes, s.codec.segments(&taken)})
			s.settle(writes, len(taken.all))
		}
	}
}

// take takes all writes and, if they are due, all reads, for which it leaves room in exchange.
func (s *Service) take(taken *reads) (writes []*event, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.queue
	writes, q.writes = q.writes, nil
	if q.due {
		q.reads, *taken = *taken, q.reads
		q.due = s.closed
	}
	return writes, s.closed
}

// settle tells those who wait.
func (s *Service) settle(writes []*event, reads int) {
	for _, e := range writes {
		close(e.done)
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

// keep writes a batch in one transaction. If it is not the database as a whole that fails, each row is tried alone, so that
// one cannot take the others with it.
func (s *Service) keep(b *batch) {
	err := s.insert(b)
	switch {
	case err == nil:
		writes, reads := b.count()
		s.metrics.events.WithLabelValues(kindWrite).Add(float64(writes))
		s.metrics.events.WithLabelValues(kindRead).Add(float64(reads))
	case len(b.writes)+len(b.segments) == 1 || errors.Is(err, meta.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded):
		s.lose(err, b)
	default:
		for _, e := range b.writes {
			s.keep(&batch{writes: []*event{e}})
		}
		for _, g := range b.segments {
			s.keep(&batch{segments: []*segment{g}})
		}
	}
}

func (s *Service) insert(b *batch) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return s.DB.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return insert(ctx, tx, b) })
}

// count is how many calls of either kind a batch has.
func (b *batch) count() (writes, reads int) {
	for _, g := range b.segments {
		reads += g.calls
	}
	return len(b.writes), reads
}

// lose says that calls are missing from the trail. What they did has been done.
func (s *Service) lose(err error, b *batch) {
	writes, reads := b.count()
	s.metrics.lost.WithLabelValues(kindWrite).Add(float64(writes))
	s.metrics.lost.WithLabelValues(kindRead).Add(float64(reads))
	for _, e := range b.writes {
		s.Log.Error("call is missing from the log of calls", "request_id", e.requestID, "operation", e.name,
			"account", e.account, "user", e.user, "result", e.code, "error", err)
	}
	if reads > 0 {
		s.Log.Warn("reads are missing from the log of calls", "count", reads, "error", err)
	}
}
