package index

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/lockfast/lockfast/repo/chunk"
)

// State is what a [Table] knows about an id.
type State uint8

// States of an id.
const (
	Absent  State = iota // nobody stores it
	Pending              // somebody has claimed it and not stored it yet
	Stored               // it has a slot in a pack that is finished or being filled
)

// shards is the number of independently locked parts of a table, a power of two.
const shards = 64

// Table maps the ids that running sessions store to their places, so that no two of them store the same content. It
// takes about 60 bytes per id.
//
// Whoever gets Absent from Claim owns the id and has to call Store or Abandon. A location may lie in a pack that is
// not durable yet: who relies on another session's location waits for that pack.
type Table struct {
	shard [shards]tableShard
}

// tableShard is an open-addressing map with linear probing. Slots with a zero id are free; ids never move except when
// it grows.
type tableShard struct {
	mu      sync.Mutex
	ids     []chunk.ID
	values  []tableValue
	used    int
	bundles map[uint64]Location        // location of bundle chunks by pack and slot
	waiting map[chunk.ID]chan struct{} // closed when the id is no longer pending
}

// tableValue is a compact location. For a part, offset and plain describe the part, and the rest is in bundles.
type tableValue struct {
	pack   uint32 // owner while pending
	offset uint32
	stored uint32
	plain  uint32
	slot   uint16
	kind   chunk.Kind // Part for parts
	state  State
	codec  chunk.Codec
}

// NewTable returns an empty table.
func NewTable() *Table { return &Table{} }

// of returns the shard of an id; the bits are not those that [tableShard.find] uses.
func (t *Table) of(id chunk.ID) *tableShard { return &t.shard[id[15]%shards] }

// Claim asks for id on behalf of owner, any number that tells sessions apart. With Absent, owner now has to store it.
// With Pending, other is who is storing it. With Stored, loc says where.
func (t *Table) Claim(id chunk.ID, owner uint32) (state State, other uint32, loc Location) {
	s := t.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(id); ok {
		return s.report(i)
	}
	s.insert(id, tableValue{state: Pending, pack: owner})
	return Absent, owner, Location{}
}

// Lookup returns what is known about id without claiming it.
func (t *Table) Lookup(id chunk.ID) (state State, owner uint32, loc Location) {
	s := t.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(id); ok {
		return s.report(i)
	}
	return Absent, 0, Location{}
}

// Store notes where id is. It ends a claim, and may also be called without one.
func (t *Table) Store(id chunk.ID, loc Location) {
	s := t.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := tableValue{pack: loc.Pack, slot: loc.Slot, offset: loc.Offset, stored: loc.Stored, plain: loc.Plain,
		kind: loc.Kind, codec: loc.Codec, state: Stored}
	if loc.Part {
		v.kind, v.offset, v.plain = chunk.Part, loc.PartOffset, loc.PartLength
		if s.bundles == nil {
			s.bundles = map[uint64]Location{}
		}
		whole := loc
		whole.Part, whole.PartOffset, whole.PartLength = false, 0, 0
		s.bundles[place(loc.Pack, loc.Slot)] = whole
	}
	if i, ok := s.find(id); ok {
		s.values[i] = v
	} else {
		s.insert(id, v)
	}
	s.wake(id)
}

// Abandon ends a claim without a place; whoever waits may claim id.
func (t *Table) Abandon(id chunk.ID) {
	s := t.of(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.find(id); ok && s.values[i].state == Pending {
		s.remove(i)
	}
	s.wake(id)
}

// Forget removes ids that lie in packs for which gone reports true, and the claims of owners for which lost reports
// true: what is found in segments from now on, or what an aborted session leaves.
func (t *Table) Forget(gone func(pack uint32) bool, lost func(owner uint32) bool) {
	for i := range t.shard {
		t.shard[i].forget(gone, lost)
	}
}

// Wait returns when id is no longer pending, or with the error of ctx.
func (t *Table) Wait(ctx context.Context, id chunk.ID) error {
	s := t.of(id)
	s.mu.Lock()
	i, ok := s.find(id)
	if !ok || s.values[i].state != Pending {
		s.mu.Unlock()
		return nil
	}
	c := s.waiting[id]
	if c == nil {
		if s.waiting == nil {
			s.waiting = map[chunk.ID]chan struct{}{}
		}
		c = make(chan struct{})
		s.waiting[id] = c
	}
	s.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Len returns the number of ids.
func (t *Table) Len() int {
	n := 0
	for i := range t.shard {
		s := &t.shard[i]
		s.mu.Lock()
		n += s.used
		s.mu.Unlock()
	}
	return n
}

func place(pack uint32, slot uint16) uint64 { return uint64(pack)<<16 | uint64(slot) }

// report describes the value at i.
func (s *tableShard) report(i int) (State, uint32, Location) {
	v := &s.values[i]
	if v.state == Pending {
		return Pending, v.pack, Location{}
	}
	if v.kind == chunk.Part {
		loc := s.bundles[place(v.pack, v.slot)]
		loc.Part, loc.PartOffset, loc.PartLength = true, v.offset, v.plain
		return Stored, 0, loc
	}
	return Stored, 0, Location{Pack: v.pack, Slot: v.slot, Kind: v.kind, Codec: v.codec, Chunk: s.ids[i],
		Offset: v.offset, Stored: v.stored, Plain: v.plain}
}

// find returns the slot of id.
func (s *tableShard) find(id chunk.ID) (int, bool) {
	if len(s.ids) == 0 {
		return 0, false
	}
	mask := len(s.ids) - 1
	for i := home(id) & mask; ; i = (i + 1) & mask {
		switch s.ids[i] {
		case id:
			return i, true
		case chunk.ID{}:
			return 0, false
		}
	}
}

func home(id chunk.ID) int { return int(binary.LittleEndian.Uint64(id[:]) >> 1) }

// insert adds an id that is not there.
func (s *tableShard) insert(id chunk.ID, v tableValue) {
	if s.used*4 >= len(s.ids)*3 {
		s.grow(max(16, 2*len(s.ids)))
	}
	mask := len(s.ids) - 1
	i := home(id) & mask
	for s.ids[i] != (chunk.ID{}) {
		i = (i + 1) & mask
	}
	s.ids[i], s.values[i] = id, v
	s.used++
}

func (s *tableShard) grow(n int) {
	ids, values := s.ids, s.values
	s.ids, s.values, s.used = make([]chunk.ID, n), make([]tableValue, n), 0
	for i, id := range ids {
		if id != (chunk.ID{}) {
			s.insert(id, values[i])
		}
	}
}

// remove frees slot i and moves up what would no longer be found behind it.
func (s *tableShard) remove(i int) {
	mask := len(s.ids) - 1
	s.used--
	for j := (i + 1) & mask; s.ids[j] != (chunk.ID{}); j = (j + 1) & mask {
		if (j-home(s.ids[j]))&mask >= (j-i)&mask {
			s.ids[i], s.values[i] = s.ids[j], s.values[j]
			i = j
		}
	}
	s.ids[i], s.values[i] = chunk.ID{}, tableValue{}
}

func (s *tableShard) wake(id chunk.ID) {
	if c := s.waiting[id]; c != nil {
		close(c)
		delete(s.waiting, id)
	}
}

func (s *tableShard) forget(gone, lost func(uint32) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, values := s.ids, s.values
	s.ids, s.values, s.used = nil, nil, 0
	for i, id := range ids {
		v := values[i]
		switch {
		case id == chunk.ID{}:
		case v.state == Pending && lost != nil && lost(v.pack):
			s.wake(id)
		case v.state == Stored && gone != nil && gone(v.pack):
		default:
			s.insert(id, v)
		}
	}
	for k := range s.bundles {
		if gone != nil && gone(uint32(k>>16)) {
			delete(s.bundles, k)
		}
	}
}
