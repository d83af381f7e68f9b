package repo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

const (
	// mapPairs is how many pairs an object of a copy map holds at most (docs/format.md section 20).
	mapPairs = 1 << 16
	// mapPair is the length of a pair.
	mapPair = 2 * len(ID{})
	// mapCached is how many objects are kept open at once; each takes 2 MiB.
	mapCached = 8
	// mapSmall is how many objects may be less than half full before they are put together.
	mapSmall = 8
	// mapLabel is what the domains of a map are told apart by.
	mapLabel = "lockfast v1 copy map"
)

// copyMap knows under which ids contents of another domain stand in a vault. It is derived: without it, or a part of it,
// they are read once more. Ids that contents do not have any more do no harm, since every one is looked up.
//
// Its objects are searched one after the other for a window of ids at once, so that memory is bounded however many
// contents there are.
type copyMap struct {
	v      *Vault
	prefix string

	names  []blob.Name // of objects
	cached map[blob.Name][]byte
	recent []blob.Name // cached ones, oldest first

	mu    sync.Mutex
	fresh map[ID]ID // pairs that are in no object yet; guarded by mu
}

// openCopyMap opens the map from the domain of another vault into that of v, and puts small objects of it together.
func (v *Vault) openCopyMap(ctx context.Context, from *Vault) (*copyMap, error) {
	other := from.keys().ID(chunk.List, []byte(mapLabel))
	tag := v.keys().ID(chunk.List, append([]byte(mapLabel), other[:]...))
	m := &copyMap{v: v, prefix: fmt.Sprintf("t/%s/", tag), cached: map[blob.Name][]byte{}, fresh: map[ID]ID{}}
	var small []blob.Name
	for info, err := range v.store.List(ctx, m.prefix) {
		if err != nil {
			return nil, fmt.Errorf("list copy map: %w", err)
		}
		if !isMapName(info.Name) {
			continue
		}
		m.names = append(m.names, info.Name)
		if info.Size < mapPairs/2*int64(mapPair) {
			small = append(small, info.Name)
		}
	}
	if len(small) <= mapSmall {
		return m, nil
	}
	return m, m.merge(ctx, small)
}

// isMapName reports whether an object of a copy map may have a name.
func isMapName(name blob.Name) bool {
	rest, ok := strings.CutPrefix(string(name), "t/")
	tag, id, cut := strings.Cut(rest, "/")
	return ok && cut && PointID(tag).Check() == nil && PointID(id).Check() == nil
}

func (m *copyMap) name(id ID) blob.Name { return blob.Name(m.prefix + id.String()) }

// lookup returns the ids in this vault of contents of the other domain, as far as they are known. ids are sorted.
func (m *copyMap) lookup(ctx context.Context, ids []ID) (map[ID]ID, error) {
	known := map[ID]ID{}
	m.mu.Lock()
	for _, id := range ids {
		if to, ok := m.fresh[id]; ok {
			known[id] = to
		}
	}
	m.mu.Unlock()
	for _, name := range slices.Clone(m.names) {
		if len(known) == len(ids) {
			break
		}
		pairs, err := m.load(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if to, ok := find(pairs, id); ok {
				known[id] = to
			}
		}
	}
	return known, nil
}

// find looks an id up in sorted pairs.
func find(pairs []byte, id ID) (to ID, ok bool) {
	n := len(pairs) / mapPair
	i := sort.Search(n, func(i int) bool { return bytes.Compare(pairs[i*mapPair:][:len(id)], id[:]) >= 0 })
	if i == n || !bytes.Equal(pairs[i*mapPair:][:len(id)], id[:]) {
		return to, false
	}
	return ID(pairs[i*mapPair+len(id):][:len(id)]), true
}

// load returns the pairs of an object; none, from now on, if it cannot be read.
func (m *copyMap) load(ctx context.Context, name blob.Name) ([]byte, error) {
	if pairs, ok := m.cached[name]; ok {
		return pairs, nil
	}
	pairs, err := m.v.getSealed(ctx, seal.TypeCopyMap, name, maxSmallObject)
	if err == nil {
		err = checkPairs(name, pairs)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		if !errors.Is(err, blob.ErrNotExist) { // another copy may have put it together with others
			m.v.log.Warn("copy map is not complete; contents are read once more", "object", name, "error", err)
		}
		m.names = slices.DeleteFunc(m.names, func(n blob.Name) bool { return n == name })
		return nil, nil
	}
	m.keep(name, pairs)
	return pairs, nil
}

// checkPairs checks the form of an object.
func checkPairs(name blob.Name, pairs []byte) error {
	if len(pairs) == 0 || len(pairs)%mapPair != 0 || len(pairs) > mapPairs*mapPair {
		return chunk.Damaged(string(name), "%d bytes of pairs", len(pairs))
	}
	for i := mapPair; i < len(pairs); i += mapPair {
		if bytes.Compare(pairs[i-mapPair:][:len(ID{})], pairs[i:][:len(ID{})]) >= 0 {
			return chunk.Damaged(string(name), "pairs are not ascending")
		}
	}
	return nil
}

func (m *copyMap) keep(name blob.Name, pairs []byte) {
	if len(m.recent) == mapCached {
		delete(m.cached, m.recent[0])
		m.recent = m.recent[1:]
	}
	m.cached[name], m.recent = pairs, append(m.recent, name)
}

// add notes a pair. It may be called concurrently.
func (m *copyMap) add(from, to ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh[from] = to
}

// full reports whether it is time to save.
func (m *copyMap) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.fresh) >= mapPairs
}

// save puts the pairs that are in no object yet into some. Pairs may be added meanwhile; it runs neither twice at once nor beside lookup.
func (m *copyMap) save(ctx context.Context) error {
	m.mu.Lock()
	fresh := m.fresh
	m.fresh = map[ID]ID{}
	m.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(fresh), compareIDs)
	for some := range slices.Chunk(ids, mapPairs) {
		pairs := make([]byte, 0, len(some)*mapPair)
		for _, id := range some {
			to := fresh[id]
			pairs = append(append(pairs, id[:]...), to[:]...)
		}
		var id ID
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		name := m.name(id)
		if _, err := m.v.putSealed(ctx, seal.TypeCopyMap, name, pairs); err != nil {
			return err
		}
		m.names = append(m.names, name)
		m.keep(name, pairs)
	}
	return nil
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// merge puts small objects together, without the pairs of contents that the vault does not have any more.
func (m *copyMap) merge(ctx context.Context, small []blob.Name) error {
	for _, name := range small {
		pairs, err := m.load(ctx, name)
		if err != nil {
			return err
		}
		for ; len(pairs) > 0; pairs = pairs[mapPair:] {
			to := ID(pairs[len(ID{}):mapPair])
			if _, ok := m.v.catalog.find(to); ok {
				m.add(ID(pairs[:len(ID{})]), to)
			}
		}
		if m.full() {
			if err := m.save(ctx); err != nil {
				return err
			}
		}
	}
	if err := m.save(ctx); err != nil {
		return err
	}
	m.names = slices.DeleteFunc(m.names, func(n blob.Name) bool { return slices.Contains(small, n) })
	for _, name := range small {
		if err := m.v.store.Delete(ctx, name); err != nil {
			return cmp.Or(context.Cause(ctx), m.undeleted(name, err))
		}
	}
	return nil
}

// undeleted notes that an object stays that is not needed, perhaps because the store retains it.
func (m *copyMap) undeleted(name blob.Name, err error) error {
	m.v.log.Debug("object of a copy map stays", "object", name, "error", err)
	return nil
}
