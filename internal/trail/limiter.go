package trail

import (
	"sync"
	"time"
)

// Unidentified requests that are kept: so many at once, and one more with each interval.
const (
	strangeBurst    = 100
	strangeInterval = time.Second
)

// limiter bounds how many requests of unknown callers are kept.
type limiter struct {
	mu         sync.Mutex
	next       time.Time // when the store of tokens would be full, less the burst
	suppressed int64     // since the last one that was let through
}

// allow reports whether a request may be kept, and how many were not since the last one that was.
func (l *limiter) allow(now time.Time) (suppressed int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if oldest := now.Add(-strangeBurst * strangeInterval); l.next.Before(oldest) {
		l.next = oldest
	}
	next := l.next.Add(strangeInterval)
	if next.After(now) {
		l.suppressed++
		return 0, false
	}
	l.next = next
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}
