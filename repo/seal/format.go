package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"time"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/parity"
)

// FormatSize is the length of a format object.
const FormatSize = 256

const (
	formatCRC = 220
	formatMAC = 224
)

// Features known to this version, bits of the words of [Format].
const (
	incompatibleObjectParity = 1 << 2
	readOnlyParity           = 1 << 0
)

// Chunkers of docs/format.md section 6.
const (
	ChunkerGear  = 1
	ChunkerFixed = 2
)

// FeatureCold is the incompatible feature of vaults whose recovery points may have chunks in cold packs.
const FeatureCold = 1

// Format is the format object of a vault (docs/format.md section 3): the parameters that every writer has to share.
type Format struct {
	Generation   uint32
	UUID         [16]byte
	Incompatible uint64 // feature bits: refuse the vault when one is unknown
	ReadOnly     uint64 // feature bits: do not write when one is unknown
	Compatible   uint64 // feature bits: ignore what is unknown
	Created      time.Time
	Chunk        chunk.Params
	DataPack     uint32 // target size in bytes
	MetaPack     uint32
	ColdPack     uint32
	Epoch        uint32 // whose key makes the MAC
}

// DefaultFormat returns the format of a new vault.
func DefaultFormat(uuid [16]byte, created time.Time) Format {
	return Format{Generation: 1, UUID: uuid, Created: created, Chunk: chunk.DefaultParams(),
		DataPack: 32 << 20, MetaPack: 8 << 20, ColdPack: 256 << 20, Epoch: 1}
}

// Protect gives a vault that nothing was written to yet the features that packs and sealed objects carry parity.
func (f *Format) Protect() {
	f.Incompatible |= incompatibleObjectParity
	f.ReadOnly |= readOnlyParity
}

// PackParity reports whether packs carry parity.
func (f Format) PackParity() bool { return f.ReadOnly&readOnlyParity != 0 }

// ObjectParity reports whether sealed objects carry parity.
func (f Format) ObjectParity() bool { return f.Incompatible&incompatibleObjectParity != 0 }

// shards returns the numbers of shards in the format object.
func (f Format) shards() (b [2]byte) {
	if f.PackParity() {
		b = [2]byte{parity.MaxData, parity.Spare}
	}
	return b
}

// Name returns the name of the object in the vault.
func (f Format) Name() string {
	if f.Generation <= 1 {
		return "format"
	}
	return fmt.Sprintf("format.%d", f.Generation)
}

// Writable reports whether this version knows every feature that a writer has to know.
func (f Format) Writable() error {
	if unknown := f.ReadOnly &^ readOnlyParity; unknown != 0 {
		return &UnsupportedError{Object: f.Name(), Feature: "read-only compatible feature",
			Value: bits.TrailingZeros64(unknown)}
	}
	return nil
}

// Encode returns the bytes of the object with their MAC.
func (f Format) Encode(k *Keys) ([]byte, error) {
	b := append(make([]byte, 0, FormatSize), magic...)
	b = append(b, byte(TypeFormat), version, 0, Suite)
	le := binary.LittleEndian
	b = le.AppendUint32(b, f.Generation)
	b = append(b, f.UUID[:]...)
	b = le.AppendUint64(b, f.Incompatible)
	b = le.AppendUint64(b, f.ReadOnly)
	b = le.AppendUint64(b, f.Compatible)
	b = le.AppendUint64(b, uint64(f.Created.UnixNano()))
	b = append(b, ChunkerGear, byte(len(chunk.ID{})), 0, 0)
	for _, v := range []uint32{uint32(f.Chunk.Min), uint32(f.Chunk.Avg), uint32(f.Chunk.Max), f.DataPack, f.MetaPack,
		f.ColdPack} {
		b = le.AppendUint32(b, v)
	}
	shards := f.shards()
	b = le.AppendUint32(append(b, shards[0], shards[1], 0, 0), f.Epoch)
	b = b[:formatCRC]
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	mac, err := k.formatMAC(f.Epoch, b)
	return append(b, mac...), err
}

// DecodeFormat reads a format object without its keys; call [Format.Verify] as soon as they are open.
func DecodeFormat(name string, b []byte) (Format, error) {
	le := binary.LittleEndian
	if len(b) != FormatSize || string(b[:8]) != magic || Type(b[8]) != TypeFormat {
		return Format{}, chunk.Damaged(name, "not a format object")
	}
	if crc32.Checksum(b[:formatCRC], castagnoli()) != le.Uint32(b[formatCRC:]) {
		return Format{}, chunk.Damaged(name, "checksum differs")
	}
	f := Format{Generation: le.Uint32(b[12:]), UUID: [16]byte(b[16:32]), Incompatible: le.Uint64(b[32:]),
		ReadOnly:   le.Uint64(b[40:]),
		Compatible: le.Uint64(b[48:]), Created: time.Unix(0, int64(le.Uint64(b[56:]))).UTC(),
		Chunk:    chunk.Params{Min: int(le.Uint32(b[68:])), Avg: int(le.Uint32(b[72:])), Max: int(le.Uint32(b[76:]))},
		DataPack: le.Uint32(b[80:]), MetaPack: le.Uint32(b[84:]), ColdPack: le.Uint32(b[88:]), Epoch: le.Uint32(b[96:])}
	if f.Name() != name {
		return Format{}, chunk.Damaged(name, "it was written as %s", f.Name())
	}
	unsupported := func(feature string, v int) (Format, error) {
		return Format{}, &UnsupportedError{Object: name, Feature: feature, Value: v}
	}
	switch {
	case b[9] != version:
		return unsupported("format version", int(b[9]))
	case b[11] != Suite:
		return unsupported("suite", int(b[11]))
	case f.Incompatible&^(incompatibleObjectParity|FeatureCold) != 0:
		return unsupported("incompatible feature", bits.TrailingZeros64(f.Incompatible&^(incompatibleObjectParity|FeatureCold)))
	case b[64] != ChunkerGear:
		return unsupported("chunker", int(b[64]))
	case int(b[65]) != len(chunk.ID{}):
		return unsupported("id length", int(b[65]))
	case [2]byte(b[92:]) != f.shards():
		return Format{}, chunk.Damaged(name, "parity of %d+%d shards does not fit its features", b[92], b[93])
	case !zero(b[66:68]) || !zero(b[94:96]) || !zero(b[100:formatCRC]):
		return Format{}, chunk.Damaged(name, "reserved bytes are not zero")
	}
	if err := f.Chunk.Check(); err != nil {
		return Format{}, chunk.Damaged(name, "%v", err)
	}
	return f, nil
}

// zero reports whether all bytes are zero.
func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// Verify checks the MAC of the bytes that f was decoded from.
func (f Format) Verify(k *Keys, b []byte) error {
	if f.UUID != k.uuid || len(b) != FormatSize {
		return chunk.Damaged(f.Name(), "it belongs to vault %x", f.UUID)
	}
	mac, err := k.formatMAC(f.Epoch, b[:formatMAC])
	if err != nil {
		return err
	}
	if !equalMAC(mac, b[formatMAC:]) {
		return chunk.Damaged(f.Name(), "it was changed after it was written")
	}
	return nil
}
