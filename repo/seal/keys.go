// Package seal holds the keys of a vault and everything that is done with them: ids of content, keys of packs, and
// the sealing of small objects (docs/format.md sections 3 to 5).
//
// A vault has one domain key, from which ids and chunk boundaries follow, and one vault key per epoch, from which
// pack and object keys follow. Keys arrive in the clear here; wrapping them is the business of a key wrapper above.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
)

// Keys are the keys of one vault. They are immutable and may be used by any number of goroutines.
type Keys struct {
	uuid     [16]byte
	current  uint32 // of new objects
	highest  uint32 // that there ever was, whether or not its key is at hand
	epochs   map[uint32]roots
	chunker  Secret
	boundary *hashPool
	ids      [chunk.Part + 1]*hashPool // by kind
}

// roots are derived from the vault key of one epoch.
type roots struct {
	vault, pack, object, format Secret
}

// New derives the keys of the vault uuid from its domain key and the vault keys by epoch. New objects use the highest
// epoch.
func New(uuid [16]byte, domain Secret, vault map[uint32]Secret) (*Keys, error) {
	if len(vault) == 0 {
		return nil, fmt.Errorf("keys of vault %x: no vault key", uuid)
	}
	k := &Keys{uuid: uuid, current: slices.Max(slices.Collect(maps.Keys(vault))),
		epochs: make(map[uint32]roots, len(vault))}
	k.highest = k.current
	for epoch, v := range vault {
		k.epochs[epoch] = roots{
			vault:  v,
			pack:   derive(v, uuid[:], "lockfast v1 pack root"),
			object: derive(v, uuid[:], "lockfast v1 object root"),
			format: derive(v, uuid[:], "lockfast v1 format"),
		}
	}
	k.chunker = derive(domain, nil, "lockfast v1 chunker")
	k.boundary = newHashPool(derive(domain, nil, "lockfast v1 boundary"))
	k.ids[chunk.Data] = newHashPool(derive(domain, nil, "lockfast v1 id data"))
	k.ids[chunk.Bundle] = newHashPool(derive(domain, nil, "lockfast v1 id bundle"))
	k.ids[chunk.Node] = newHashPool(derive(domain, nil, "lockfast v1 id node"))
	k.ids[chunk.List] = newHashPool(derive(domain, nil, "lockfast v1 id list"))
	k.ids[chunk.Part] = k.ids[chunk.Data]
	return k, nil
}

// UUID returns the vault's UUID.
func (k *Keys) UUID() [16]byte { return k.uuid }

// MaxEpochs is the highest epoch that a vault may have (docs/format.md section 19).
const MaxEpochs = 100

// Sealing returns the same keys with another epoch for new objects, one of those that were given to [New], and the highest epoch
// that is known to have been there.
func (k *Keys) Sealing(current, highest uint32) *Keys {
	if _, ok := k.epochs[current]; !ok {
		panic(fmt.Sprintf("seal: no key of epoch %d", current))
	}
	other := *k
	other.current, other.highest = current, max(k.highest, highest)
	return &other
}

// Epoch returns the epoch of new objects.
func (k *Keys) Epoch() uint32 { return k.current }

// Highest returns the highest epoch that is known to have been there. Objects of a higher one may be of a vault whose keys have to
// be read again.
func (k *Keys) Highest() uint32 { return k.highest }

// String names the vault and hides the keys.
func (k *Keys) String() string { return fmt.Sprintf("keys of vault %x %s", k.uuid, redacted) }

// LogValue hides the keys from slog.
func (k *Keys) LogValue() slog.Value { return slog.StringValue(k.String()) }

// ChunkerKey returns the key of the Gear table.
func (k *Keys) ChunkerKey() [32]byte { return k.chunker }

// ID returns the id of a content of the given kind. For a bundle, data is the encoding of its table of parts; see
// package pack. It does not allocate and may be called concurrently.
func (k *Keys) ID(kind chunk.Kind, data []byte) (id chunk.ID) {
	k.ids[kind].sum(id[:], data)
	return id
}

// SameDomain reports whether two vaults give equal contents equal ids.
func (k *Keys) SameDomain(other *Keys) bool {
	return subtle.ConstantTimeCompare(k.chunker[:], other.chunker[:]) == 1
}

// Boundary returns the hash that decides where a node of a tree ends after key.
func (k *Keys) Boundary(key []byte) uint64 {
	var b [8]byte
	k.boundary.sum(b[:], key)
	return binary.LittleEndian.Uint64(b[:])
}

// PackKey is what seals the slots of one pack.
type PackKey struct {
	AEAD       cipher.AEAD
	Commitment [32]byte
}

// PackKey derives the key of a pack from its identity.
func (k *Keys) PackKey(t Type, epoch uint32, id [16]byte, salt [32]byte) (PackKey, error) {
	r, ok := k.epochs[epoch]
	if !ok {
		return PackKey{}, &EpochError{Object: fmt.Sprintf("pack %x", id), Epoch: epoch, Lost: k.lost(epoch)}
	}
	info := binary.LittleEndian.AppendUint32(append([]byte("lockfast v1 pack"), byte(t)), epoch)
	return split(r.pack, salt, append(info, id[:]...)), nil
}

// lost reports whether the key of an epoch, which is not at hand, was there once.
func (k *Keys) lost(epoch uint32) bool { return epoch > 0 && epoch <= k.highest }

// objectKey derives the key of a sealed object.
func (k *Keys) objectKey(name string, t Type, epoch uint32, salt [32]byte) (PackKey, error) {
	r, ok := k.epochs[epoch]
	if !ok {
		return PackKey{}, &EpochError{Object: name, Epoch: epoch, Lost: k.lost(epoch)}
	}
	info := binary.LittleEndian.AppendUint32(append([]byte("lockfast v1 object"), byte(t)), epoch)
	return split(r.object, salt, info), nil
}

// derive returns one 32-byte key.
func derive(secret Secret, salt []byte, info string) (out Secret) {
	copy(out[:], expand(secret, salt, info, len(out)))
	return out
}

// split derives a key and its commitment.
func split(root Secret, salt [32]byte, info []byte) PackKey {
	b := expand(root, salt[:], string(info), 64)
	p := PackKey{AEAD: newAEAD(b[:32])}
	copy(p.Commitment[:], b[32:])
	return p
}

func expand(secret Secret, salt []byte, info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, secret[:], salt, info, n)
	if err != nil {
		panic("seal: " + err.Error()) // only for lengths above 8 KiB
	}
	return b
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error()) // only for wrong key lengths
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return aead
}

// hashPool keeps keyed hashers, which are 10 KiB each, for reuse.
type hashPool struct {
	pool sync.Pool
}

// hashState is a hasher with room for its sum.
type hashState struct {
	h   *blake3.Hasher
	sum [32]byte
}

func newHashPool(key Secret) *hashPool {
	first, err := blake3.NewKeyed(key[:])
	if err != nil {
		panic("seal: " + err.Error())
	}
	return &hashPool{pool: sync.Pool{New: func() any { return &hashState{h: first.Clone()} }}}
}

// sum writes the first bytes of the keyed hash of data to out.
func (p *hashPool) sum(out, data []byte) {
	s := p.pool.Get().(*hashState)
	s.h.Reset()
	_, _ = s.h.Write(data)
	copy(out, s.h.Sum(s.sum[:0]))
	p.pool.Put(s)
}
