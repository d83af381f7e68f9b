package refset

import (
	"fmt"
	"maps"
	"slices"
)

// Builder collects slots in any order. It is for one goroutine at a time.
type Builder struct {
	packs map[uint32]*collect
	last  *collect // most slots come in runs of one pack
	lastP uint32
}

// collect is the growing bitmap of one pack.
type collect struct {
	all  bool
	bits []uint64
}

// NewBuilder returns an empty builder.
func NewBuilder() *Builder { return &Builder{packs: map[uint32]*collect{}} }

// pack returns the bitmap of a pack, with room for the slots below n.
func (b *Builder) pack(pack uint32, n int) *collect {
	c := b.last
	if c == nil || b.lastP != pack {
		if c = b.packs[pack]; c == nil {
			c = &collect{}
			b.packs[pack] = c
		}
		b.last, b.lastP = c, pack
	}
	for len(c.bits)*64 < n {
		c.bits = append(c.bits, 0)
	}
	return c
}

// Add adds one slot.
func (b *Builder) Add(pack uint32, slot int) {
	c := b.pack(pack, slot+1)
	c.bits[slot/64] |= 1 << (slot % 64)
}

// Has reports whether a slot was added.
func (b *Builder) Has(pack uint32, slot int) bool {
	c := b.packs[pack]
	return c != nil && (c.all || slot/64 < len(c.bits) && c.bits[slot/64]>>(slot%64)&1 == 1)
}

// AddAll adds every slot of a pack.
func (b *Builder) AddAll(pack uint32) { b.pack(pack, 0).all = true }

// Set returns what was collected. slots gives the number of slots of a pack; a pack that it does not know (0), or
// that has fewer slots than were added, is an error. The builder can be used further.
func (b *Builder) Set(slots func(pack uint32) int) (Set, error) {
	var out Set
	for _, no := range slices.Sorted(maps.Keys(b.packs)) {
		c := b.packs[no]
		total := slots(no)
		if n := c.top(); total < n || total == 0 {
			return Set{}, fmt.Errorf("refset: slot %d of pack number %d, which has %d slots", n-1, no, total)
		}
		if c.all {
			out.packs = append(out.packs, entry{pack: no, slots: uint32(total), off: full})
			continue
		}
		out.append(no, uint32(total), func(i int) uint64 {
			if i < len(c.bits) {
				return c.bits[i]
			}
			return 0
		})
	}
	return out, nil
}

// top returns one more than the highest slot that was added.
func (c *collect) top() int {
	for i := len(c.bits) - 1; i >= 0; i-- {
		for j := 63; j >= 0; j-- {
			if c.bits[i]>>j&1 == 1 {
				return i*64 + j + 1
			}
		}
	}
	return 0
}
