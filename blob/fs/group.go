package fs

import "sync"

// group syncs directories, one sync of a directory at a time, and lets all callers who come while a sync is running share
// the next one: it begins after each of them has made its change, so it covers them all. With n Puts into one directory
// at once that makes two syncs instead of n.
//
// A directory whose sync failed stays failed: the kernel reports a lost write once, so a later success would prove
// nothing. Only a full disk may pass.
type group struct {
	sync func(dir string) error

	mu   sync.Mutex
	dirs map[string]*queue // guarded by mu; those in use or failed
	bad  bool              // guarded by mu; a sync has failed
}

type queue struct {
	turn  sync.Mutex // held while a sync runs
	next  *round     // guarded by group.mu; has not begun, may be joined
	users int        // guarded by group.mu
	err   error      // guarded by group.mu; final
}

type round struct {
	done chan struct{} // closed when err is set
	err  error
}

func newGroup(sync func(dir string) error) *group {
	return &group{sync: sync, dirs: map[string]*queue{}}
}

// Sync returns once a sync of dir that began after the call has ended.
func (g *group) Sync(dir string) error {
	q, r, leads := g.join(dir)
	if leads {
		g.lead(dir, q, r)
	}
	<-r.done
	g.leave(dir, q)
	return r.err
}

func (g *group) join(dir string) (q *queue, r *round, leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q = g.dirs[dir]
	if q == nil {
		q = &queue{}
		g.dirs[dir] = q
	}
	q.users++
	if q.next == nil {
		q.next, leads = &round{done: make(chan struct{})}, true
	}
	return q, q.next, leads
}

func (g *group) lead(dir string, q *queue, r *round) {
	q.turn.Lock()
	defer q.turn.Unlock()
	g.mu.Lock()
	q.next = nil
	r.err = q.err
	g.mu.Unlock()
	if r.err == nil {
		r.err = g.sync(dir)
	}
	if r.err != nil && !absent(r.err) {
		g.mu.Lock()
		g.bad = true
		if !passing(r.err) {
			q.err = r.err
		}
		g.mu.Unlock()
	}
	close(r.done)
}

func (g *group) leave(dir string, q *queue) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q.users--; q.users == 0 && q.err == nil {
		delete(g.dirs, dir)
	}
}

// broken reports that a sync has failed, so that what is visible may not be durable.
func (g *group) broken() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bad
}
