package directory

import (
	"container/list"
	"errors"
	"sync"
)

// place is a directory that a restore made or was given. Its descriptor may be closed and opened again.
type place struct {
	up   *place // nil for the root
	name []byte // in up, with a terminating zero
	key  []byte

	// The rest is guarded by places.mu.
	fd   int // -1 while closed
	uses int // the descriptor stays open while it is in use
	elem *list.Element
}

// places keeps the directories used last open, at most openPlaces, besides the root and those in use. It may be used
// concurrently. A directory is only ever opened by its name in the directory above, and never through a link.
type places struct {
	mu    sync.Mutex
	order list.List // of *place that are open, used last first
}

const openPlaces = 96

func newRootPlace(fd int) *place { return &place{fd: fd} }

// child returns the place of a directory that exists in up.
func (p *place) child(name, key []byte) *place {
	return &place{up: p, name: cstr(name), key: key, fd: -1}
}

// with calls f with the descriptor of p, which is open during the call.
func (ps *places) with(p *place, f func(fd int) error) error {
	fd, err := ps.acquire(p)
	if err != nil {
		return err
	}
	defer ps.release(p)
	return f(fd)
}

func (ps *places) acquire(p *place) (int, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var chain []*place // from p up to below the first that is open
	at := p
	for ; at.fd < 0; at = at.up {
		if at.up == nil {
			return -1, errors.New("directory: the root of a restore is closed")
		}
		chain = append(chain, at)
	}
	for len(chain) > 0 {
		next := chain[len(chain)-1]
		chain = chain[:len(chain)-1]
		fd, err := openDir(at.fd, next.name)
		if err != nil {
			return -1, err
		}
		next.fd, next.elem = fd, ps.order.PushFront(next)
		next.uses++ // not to be evicted now
		ps.evict()
		next.uses--
		at = next
	}
	if p.elem != nil {
		ps.order.MoveToFront(p.elem)
	}
	p.uses++
	return p.fd, nil
}

func (ps *places) release(p *place) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.uses--
}

// evict closes the directory that was not used for longest, if there are too many.
func (ps *places) evict() {
	for e := ps.order.Back(); e != nil && ps.order.Len() > openPlaces; {
		p, before := e.Value.(*place), e.Prev()
		if p.uses == 0 {
			ps.shut(p)
		}
		e = before
	}
}

func (ps *places) shut(p *place) {
	closeFD(p.fd)
	ps.order.Remove(p.elem)
	p.fd, p.elem = -1, nil
}

// forget closes p, which is not used any more.
func (ps *places) forget(p *place) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.elem != nil && p.uses == 0 {
		ps.shut(p)
	}
}

// close closes all but the root.
func (ps *places) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for e := ps.order.Front(); e != nil; e = ps.order.Front() {
		ps.shut(e.Value.(*place))
	}
}
