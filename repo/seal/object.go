package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"io"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/parity"
)

// BlockSize is the number of plain bytes in each block of a sealed object but the last.
const BlockSize = 64 << 10

// SealedSize returns the length of a sealed object with n plain bytes.
func SealedSize(n int) int { return HeaderSize + n + blocks(n)*Overhead }

// blocks returns the number of blocks of n plain bytes; there is always one.
func blocks(n int) int { return max(1, (n+BlockSize-1)/BlockSize) }

// SealProtected is [Keys.Seal] for vaults with the feature object-parity: the parity region follows.
func (k *Keys) SealProtected(t Type, name string, plain []byte) ([]byte, error) {
	b, err := k.seal(rand.Reader, Header{Type: t, Epoch: k.current, Parity: true}, name, plain)
	if err != nil {
		return nil, err
	}
	return parity.AppendObject(b), nil
}

// Seal returns plain as a sealed object of type t with the given name in the vault (docs/format.md section 5.3). Each
// call draws a new salt, so two results differ.
func (k *Keys) Seal(t Type, name string, plain []byte) ([]byte, error) {
	return k.SealRand(rand.Reader, t, name, plain)
}

// SealRand is [Keys.Seal] with the salt read from random; only vectors use another source than crypto/rand.
func (k *Keys) SealRand(random io.Reader, t Type, name string, plain []byte) ([]byte, error) {
	return k.seal(random, Header{Type: t, Epoch: k.current}, name, plain)
}

// seal seals plain under a header without salt and commitment.
func (k *Keys) seal(random io.Reader, h Header, name string, plain []byte) ([]byte, error) {
	if _, err := io.ReadFull(random, h.Salt[:]); err != nil {
		return nil, err
	}
	key, err := k.objectKey(name, h.Type, h.Epoch, h.Salt)
	if err != nil {
		return nil, err
	}
	h.Commitment = key.Commitment
	out := h.Append(make([]byte, 0, SealedSize(len(plain))))
	aad := append(out[:HeaderSize:HeaderSize], name...)
	for i, n := 0, blocks(len(plain)); i < n; i++ {
		block := plain[i*BlockSize : min(len(plain), (i+1)*BlockSize)]
		nonce := blockNonce(i, i == n-1)
		out = key.AEAD.Seal(out, nonce[:], block, aad)
	}
	return out, nil
}

// Open returns the plain text of an object that was sealed with the same type and name. The error wraps
// [chunk.ErrDamaged] when bytes were changed, and [ErrWrongKey] when the key does not fit. Parity is left out of account.
func (k *Keys) Open(t Type, name string, sealed []byte) ([]byte, error) {
	key, protected, err := k.openHeader(t, name, sealed)
	if err != nil {
		return nil, err
	}
	if protected {
		if sealed, err = parity.Covered(sealed); err != nil {
			return nil, chunk.Damaged(name, "%v", err)
		}
		if len(sealed) < HeaderSize {
			return nil, chunk.Damaged(name, "%d bytes are too short", len(sealed))
		}
	}
	aad := append(sealed[:HeaderSize:HeaderSize], name...)
	body := sealed[HeaderSize:]
	out := make([]byte, 0, len(body))
	for i := 0; ; i++ {
		last := len(body) <= BlockSize+Overhead
		block := body[:min(len(body), BlockSize+Overhead)]
		if out, err = openBlock(key.AEAD, out, block, i, last, aad); err != nil {
			return nil, chunk.Damaged(name, "block %d does not authenticate", i)
		}
		if last {
			return out, nil
		}
		body = body[len(block):]
	}
}

// openHeader checks the header of a sealed object, derives its key and tells whether parity follows.
func (k *Keys) openHeader(t Type, name string, sealed []byte) (PackKey, bool, error) {
	h, err := ParseHeader(name, sealed)
	if err != nil {
		return PackKey{}, false, err
	}
	if h.Type != t {
		return PackKey{}, false, chunk.Damaged(name, "a %s stands where a %s belongs", h.Type, t)
	}
	key, err := k.objectKey(name, t, h.Epoch, h.Salt)
	if err != nil {
		return PackKey{}, false, err
	}
	if !h.committed(key.Commitment) {
		return PackKey{}, false, wrongKey(name)
	}
	return key, h.Parity, nil
}

func openBlock(aead cipher.AEAD, dst, block []byte, i int, last bool, aad []byte) ([]byte, error) {
	nonce := blockNonce(i, last)
	return aead.Open(dst, nonce[:], block, aad)
}

func blockNonce(i int, last bool) (n [12]byte) {
	binary.LittleEndian.PutUint64(n[:], uint64(i))
	if last {
		n[8] = 1
	}
	return n
}
