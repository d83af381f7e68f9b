package crashfs

import (
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/lockfast/lockfast/blob/fs"
)

// change is one step: a call and what it was given.
type change struct {
	op   string
	path string
	from string // of link
	id   int    // of the node, of write and sync
	data []byte // of write; never changes
}

// state is a tree of nodes, each with what is durable of it. Nodes get their ids in the order of their making, so that
// repeating the same changes gives the same ids.
type state struct {
	nodes []*node // by id; 0 is the root
}

type node struct {
	id int

	// Of a file.
	written [][]byte
	synced  int // how many of written are durable
	lost    bool

	// Of a directory; nil for a file.
	entries map[string]int // as programs see them
	durable map[string]int
	pending []entryChange // since the last sync, in order
}

// entryChange sets the entry name to a node, or removes it if id is negative.
type entryChange struct {
	name string
	id   int
}

func (c entryChange) apply(entries map[string]int) {
	if c.id < 0 {
		delete(entries, c.name)
	} else {
		entries[c.name] = c.id
	}
}

func newState() *state {
	return &state{nodes: []*node{{entries: map[string]int{}, durable: map[string]int{}}}}
}

func (s *state) clone() *state {
	c := &state{nodes: make([]*node, len(s.nodes))}
	for i, n := range s.nodes {
		m := *n
		m.written, m.pending = slices.Clone(n.written), slices.Clone(n.pending)
		m.entries, m.durable = maps.Clone(n.entries), maps.Clone(n.durable)
		c.nodes[i] = &m
	}
	return c
}

func (n *node) entry(name string) fs.Entry {
	if n.entries != nil {
		return fs.Entry{Name: name, Kind: fs.Directory}
	}
	var size int64
	for _, w := range n.written {
		size += int64(len(w))
	}
	return fs.Entry{Name: name, Kind: fs.Regular, Size: size}
}

func (n *node) bytes() []byte {
	if len(n.written) == 1 {
		return n.written[0]
	}
	return slices.Concat(n.written...)
}

// find returns the node at a path.
func (s *state) find(p string) (*node, error) {
	n := s.nodes[0]
	if p == "." {
		return n, nil
	}
	for name := range strings.SplitSeq(p, "/") {
		if n.entries == nil {
			return nil, syscall.ENOTDIR
		}
		id, ok := n.entries[name]
		if !ok {
			return nil, iofs.ErrNotExist
		}
		n = s.nodes[id]
	}
	return n, nil
}

// apply does a change to the state, or returns why it cannot be done.
func (s *state) apply(c change) error {
	switch c.op {
	case "write":
		n := s.nodes[c.id]
		n.written = append(n.written, c.data)
		return nil
	case "sync":
		if n := s.nodes[c.id]; !n.lost {
			n.synced = len(n.written)
		}
		return nil
	case "lose":
		s.nodes[c.id].lost = true
		return nil
	case "create":
		return s.enter(c.path, &node{})
	case "mkdir":
		return s.enter(c.path, &node{entries: map[string]int{}, durable: map[string]int{}})
	case "link":
		n, err := s.find(c.from)
		if err != nil {
			return err
		}
		return s.enter(c.path, n)
	case "remove":
		return s.remove(c.path)
	case "syncdir":
		n, err := s.find(c.path)
		if err != nil {
			return err
		}
		n.syncEntries()
		return nil
	case "syncall":
		for _, n := range s.nodes {
			n.syncEntries()
			if !n.lost {
				n.synced = len(n.written)
			}
		}
		return nil
	}
	panic("crashfs: unknown change " + c.op)
}

// enter gives a node a name. One that is not in the tree yet is added to it.
func (s *state) enter(p string, n *node) error {
	dir, err := s.find(path.Dir(p))
	if err != nil {
		return err
	}
	if dir.entries == nil {
		return syscall.ENOTDIR
	}
	name := path.Base(p)
	if _, ok := dir.entries[name]; ok {
		return iofs.ErrExist
	}
	if n.id == 0 {
		n.id = len(s.nodes)
		s.nodes = append(s.nodes, n)
	}
	dir.set(name, n.id)
	return nil
}

func (s *state) remove(p string) error {
	n, err := s.find(p)
	if err != nil {
		return err
	}
	if len(n.entries) > 0 {
		return syscall.ENOTEMPTY
	}
	dir, err := s.find(path.Dir(p))
	if err != nil {
		return err
	}
	dir.set(path.Base(p), -1)
	return nil
}

func (n *node) set(name string, id int) {
	entryChange{name, id}.apply(n.entries)
	n.pending = append(n.pending, entryChange{name, id})
}

func (n *node) syncEntries() {
	if n.entries == nil {
		return
	}
	n.durable, n.pending = maps.Clone(n.entries), nil
}

// Data says what becomes of bytes that were written but not synced.
type Data int

// What becomes of unsynced bytes.
const (
	DropData   Data = iota // they are gone
	KeepData               // they are there
	TearData               // the first half of them is there
	ZeroData               // the length is there, the bytes are zero
	RandomData             // one of the above for each file, by Seed
)

// Names says what becomes of entries of directories that were changed but not synced.
type Names int

// What becomes of unsynced entries.
const (
	DropNames   Names = iota // no change is there
	KeepNames                // all changes are there
	RandomNames              // any subset is there, by Seed
	LastNames                // of each directory the last change is there and no other
)

// Variant is one way in which a power cut may treat what was not synced.
type Variant struct {
	Data  Data
	Names Names
	Seed  uint64 // for the random ones
}

// Variants returns a set of variants that covers the extremes, and some random ones by the seed.
func Variants(seed uint64) []Variant {
	return []Variant{
		{DropData, DropNames, 0}, {KeepData, KeepNames, 0}, {DropData, KeepNames, 0}, {KeepData, DropNames, 0},
		{TearData, KeepNames, 0}, {ZeroData, KeepNames, 0}, {TearData, LastNames, 0},
		{RandomData, RandomNames, seed}, {RandomData, RandomNames, seed + 1}, {KeepData, RandomNames, seed + 2},
	}
}

// cut returns what is found after a power cut, all of it durable.
func (s *state) cut(v Variant) *state {
	rnd := rand.New(rand.NewPCG(v.Seed, 1))
	found := &state{}
	for _, n := range s.nodes {
		m := &node{id: n.id}
		if n.entries == nil {
			m.written = n.found(v.Data, rnd)
			m.synced = len(m.written)
		} else {
			m.durable = n.foundEntries(v.Names, rnd)
			m.entries = maps.Clone(m.durable)
		}
		found.nodes = append(found.nodes, m)
	}
	return found
}

func (n *node) found(data Data, rnd *rand.Rand) [][]byte {
	if data == RandomData {
		data = Data(rnd.IntN(int(RandomData)))
	}
	found := slices.Clone(n.written[:n.synced])
	rest := slices.Concat(n.written[n.synced:]...)
	if n.lost && data != ZeroData {
		data = DropData
	}
	switch data {
	case KeepData:
		found = append(found, rest)
	case TearData:
		found = append(found, rest[:len(rest)/2])
	case ZeroData:
		found = append(found, make([]byte, len(rest)))
	}
	return found
}

func (n *node) foundEntries(names Names, rnd *rand.Rand) map[string]int {
	found := maps.Clone(n.durable)
	for i, c := range n.pending {
		last := i == len(n.pending)-1
		if names == KeepNames || names == LastNames && last || names == RandomNames && rnd.IntN(2) == 0 {
			c.apply(found)
		}
	}
	return found
}
