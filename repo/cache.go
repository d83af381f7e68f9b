package repo

import (
	"container/list"
	"sync"

	"github.com/lockfast/lockfast/repo/pack"
)

// cacheBytes bounds the plain chunks that a vault keeps at hand.
const cacheBytes = 24 << 20

// cache keeps the plain bytes of chunks that were used last. The bytes are shared and never change.
type cache struct {
	mu    sync.Mutex
	limit int
	size  int
	order *list.List // of *cached, last used first
	byID  map[ID]*list.Element
}

type cached struct {
	id    ID
	plain []byte
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), byID: map[ID]*list.Element{}}
}

func (c *cache) get(id ID) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).plain, true
}

func (c *cache) put(id ID, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[id]; ok {
		return
	}
	c.byID[id] = c.order.PushFront(&cached{id, plain})
	c.size += len(plain)
	for c.size > c.limit && c.order.Len() > 1 {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached)
		delete(c.byID, old.id)
		c.size -= len(old.plain)
	}
}

// maxOpeners bounds the derived keys of packs that are kept.
const maxOpeners = 256

// openers keeps derived keys of packs by number.
type openers struct {
	mu sync.Mutex
	m  map[uint32]pack.Opener
}

// of returns the opener of a pack.
func (o *openers) of(v *Vault, n uint32, info pack.Info) (pack.Opener, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op, ok := o.m[n]; ok {
		return op, nil
	}
	op, err := pack.NewOpener(v.keys(), info)
	if err != nil {
		return op, err
	}
	if o.m == nil || len(o.m) >= maxOpeners {
		o.m = make(map[uint32]pack.Opener)
	}
	o.m[n] = op
	return op, nil
}
