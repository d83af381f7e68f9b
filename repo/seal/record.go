package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/field"
)

// KeyRecord is a key object: the wrapped keys of one epoch (docs/format.md section 5.4).
type KeyRecord struct {
	Epoch, Generation uint32
	UUID              [16]byte
	KeyID             string   // of the wrapping key
	Wrapped           []byte   // vault key, as the wrapper returned it
	Links             [][]byte // further links from the root to the wrapping key
	Domain            []byte   // domain key, see [SealDomain]
	Created           time.Time
	Highest           uint32 // epoch that the vault had when it was written; 0 if that was Epoch
}

const keyRecordHead = 40

// Name returns the name of the object in the vault.
func (r KeyRecord) Name() string { return fmt.Sprintf("k/%d-%d", r.Epoch, r.Generation) }

// Bind returns what a key wrapper has to authenticate together with the vault key.
func (r KeyRecord) Bind() []byte {
	b := append([]byte("lockfast v1 key"), r.UUID[:]...)
	b = binary.LittleEndian.AppendUint32(b, r.Epoch)
	return append(b, r.KeyID...)
}

// Encode returns the bytes of the object.
func (r KeyRecord) Encode() []byte {
	var f []byte
	f = field.Append(f, 1, r.KeyID)
	f = field.Append(f, 2, r.Wrapped)
	for _, l := range r.Links {
		f = field.Append(f, 3, l)
	}
	f = field.Append(f, 4, r.Domain)
	f = field.AppendTime(f, 5, r.Created)
	if r.Highest > 0 {
		f = field.AppendUint(f, 6, uint64(r.Highest))
	}
	b := append([]byte(magic), byte(TypeKey), version, Suite, 0)
	b = binary.LittleEndian.AppendUint32(b, r.Epoch)
	b = binary.LittleEndian.AppendUint32(b, r.Generation)
	b = append(b, r.UUID[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
	b = append(b, f...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// DecodeKeyRecord reads a key object; name is for errors.
func DecodeKeyRecord(name string, b []byte) (KeyRecord, error) {
	if len(b) < keyRecordHead+4 {
		return KeyRecord{}, chunk.Damaged(name, "%d bytes are too short", len(b))
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(b[len(body):]) {
		return KeyRecord{}, chunk.Damaged(name, "checksum differs")
	}
	if err := checkPreamble(name, b); err != nil {
		return KeyRecord{}, err
	}
	fields := uint64(binary.LittleEndian.Uint32(b[36:]))
	if Type(b[8]) != TypeKey || b[11] != 0 || fields != uint64(len(body)-keyRecordHead) {
		return KeyRecord{}, chunk.Damaged(name, "not a key object")
	}
	r := KeyRecord{Epoch: binary.LittleEndian.Uint32(b[12:]), Generation: binary.LittleEndian.Uint32(b[16:]),
		UUID: [16]byte(b[20:36])}
	f := field.Reader{Data: body[keyRecordHead:]}
	for f.Next() {
		switch f.Tag {
		case 1:
			r.KeyID = string(f.Value)
		case 2:
			r.Wrapped = append([]byte(nil), f.Value...)
		case 3:
			r.Links = append(r.Links, append([]byte(nil), f.Value...))
		case 4:
			r.Domain = append([]byte(nil), f.Value...)
		case 5:
			r.Created = f.Time()
		case 6:
			r.Highest = uint32(min(f.Uint(), MaxEpochs))
		}
	}
	if f.Err() != nil {
		return KeyRecord{}, chunk.Damaged(name, "%v", f.Err())
	}
	return r, nil
}

// SealDomain seals the domain key under a vault key.
func SealDomain(uuid [16]byte, epoch uint32, vault, domain Secret) ([]byte, error) {
	return SealDomainRand(rand.Reader, uuid, epoch, vault, domain)
}

// SealDomainRand is [SealDomain] with the salt read from random; only vectors use another source than crypto/rand.
func SealDomainRand(random io.Reader, uuid [16]byte, epoch uint32, vault, domain Secret) ([]byte, error) {
	salt := make([]byte, 32, 32+len(domain)+Overhead)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, err
	}
	return domainAEAD(uuid, epoch, vault, salt).Seal(salt, make([]byte, 12), domain[:], nil), nil
}

// OpenDomain is the inverse of [SealDomain].
func OpenDomain(uuid [16]byte, epoch uint32, vault Secret, sealed []byte) (domain Secret, err error) {
	if len(sealed) != 32+len(domain)+Overhead {
		return Secret{}, chunk.Damaged(fmt.Sprintf("domain key of epoch %d", epoch), "it has %d bytes", len(sealed))
	}
	plain, err := domainAEAD(uuid, epoch, vault, sealed[:32]).Open(nil, make([]byte, 12), sealed[32:], nil)
	if err != nil {
		return Secret{}, wrongKey(fmt.Sprintf("domain key of epoch %d", epoch))
	}
	return Secret(plain), nil
}

func domainAEAD(uuid [16]byte, epoch uint32, vault Secret, salt []byte) cipher.AEAD {
	info := binary.LittleEndian.AppendUint32(append([]byte("lockfast v1 domain"), uuid[:]...), epoch)
	return newAEAD(expand(vault, salt, string(info), 32))
}

// castagnoli returns the table of CRC32C; the standard library keeps one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// formatMAC returns the MAC of a format object under the format key of an epoch.
func (k *Keys) formatMAC(epoch uint32, b []byte) ([]byte, error) {
	r, ok := k.epochs[epoch]
	if !ok {
		return nil, &EpochError{Object: "format", Epoch: epoch, Lost: true} // its checksum is right
	}
	h, err := blake3.NewKeyed(r.format[:])
	if err != nil {
		return nil, err
	}
	_, _ = h.Write(b)
	return h.Sum(nil), nil
}

func equalMAC(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
