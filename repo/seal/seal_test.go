package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

func keys(t testing.TB, vault map[uint32]seal.Secret) *seal.Keys {
	t.Helper()
	k, err := seal.New([16]byte{1, 2, 3}, seal.Secret{4, 5, 6}, vault)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpen_ReturnsWhatWasSealed(t *testing.T) {
	t.Parallel()
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 100, seal.BlockSize - 1, seal.BlockSize, seal.BlockSize + 1,
			3 * seal.BlockSize}).Draw(rt, "n")
		plain := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "byte")}, n)
		sealed, err := k.Seal(seal.TypeManifest, "r/x", plain)
		if err != nil || len(sealed) != seal.SealedSize(n) {
			rt.Fatalf("Seal = %d bytes, %v; want %d", len(sealed), err, seal.SealedSize(n))
		}
		got, err := k.Open(seal.TypeManifest, "r/x", sealed)
		if err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("Open = %d bytes, %v; want %d", len(got), err, n)
		}
	})
}

func TestOpen_RefusesEverythingElse(t *testing.T) {
	t.Parallel()
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	sealed, err := k.Seal(seal.TypeManifest, "r/x", make([]byte, 2*seal.BlockSize+5))
	if err != nil {
		t.Fatal(err)
	}
	block := seal.BlockSize + seal.Overhead
	h := seal.HeaderSize
	swapped := bytes.Clone(sealed)
	copy(swapped[h:], sealed[h+block:h+2*block])
	copy(swapped[h+block:], sealed[h:h+block])
	for name, b := range map[string][]byte{
		"empty":          nil,
		"header only":    sealed[:h],
		"a block less":   sealed[:h+block],
		"no last block":  sealed[:h+2*block],
		"a byte less":    sealed[:len(sealed)-1],
		"a byte more":    append(bytes.Clone(sealed), 0),
		"swapped blocks": swapped,
	} {
		if _, err := k.Open(seal.TypeManifest, "r/x", b); !errors.Is(err, chunk.ErrDamaged) ||
			!strings.Contains(err.Error(), "r/x") {
			t.Errorf("Open(%s) = %v, want damage that names the object", name, err)
		}
	}
	for i := range sealed {
		if i > 2*h && i%1000 != 0 {
			continue
		}
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if _, err := k.Open(seal.TypeManifest, "r/x", b); err == nil {
			t.Errorf("Open with byte %d changed = nil", i)
		}
	}
	if _, err := k.Open(seal.TypeManifest, "r/y", sealed); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("Open under another name = %v, want damage", err)
	}
	if _, err := k.Open(seal.TypeRefset, "r/x", sealed); !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("Open as another type = %v, want damage", err)
	}
	if _, err := keys(t, map[uint32]seal.Secret{1: {8}}).Open(seal.TypeManifest, "r/x", sealed); !errors.Is(err,
		seal.ErrWrongKey) {
		t.Errorf("Open with another key = %v, want ErrWrongKey", err)
	}
	if _, err := keys(t, map[uint32]seal.Secret{2: {7}}).Open(seal.TypeManifest, "r/x", sealed); err == nil ||
		!strings.Contains(err.Error(), "epoch 1") {
		t.Errorf("Open without the epoch = %v, want an error that names it", err)
	}
}

func TestKeys_OldEpochsStayReadable(t *testing.T) {
	t.Parallel()
	sealed, err := keys(t, map[uint32]seal.Secret{1: {7}}).Seal(seal.TypeRefset, "f/x", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	k := keys(t, map[uint32]seal.Secret{1: {7}, 2: {8}})
	if got, err := k.Open(seal.TypeRefset, "f/x", sealed); string(got) != "old" || err != nil {
		t.Errorf("Open = %q, %v", got, err)
	}
	if k.Epoch() != 2 {
		t.Errorf("Epoch() = %d, want 2", k.Epoch())
	}
}

func TestID_DependsOnDomainAndKindOnly(t *testing.T) {
	t.Parallel()
	a := keys(t, map[uint32]seal.Secret{1: {7}})
	b := keys(t, map[uint32]seal.Secret{5: {9}})
	data := []byte("content")
	if a.ID(chunk.Data, data) != b.ID(chunk.Data, data) {
		t.Error("vaults of one domain give different ids")
	}
	if a.ID(chunk.Data, data) != a.ID(chunk.Part, data) {
		t.Error("a part has another id than a chunk with the same bytes")
	}
	if a.ID(chunk.Data, data) == a.ID(chunk.Node, data) {
		t.Error("a node has the id of a data chunk")
	}
	if a.ID(chunk.Data, data).IsZero() || a.Boundary(data) == b.Boundary([]byte("other")) {
		t.Error("ids or boundaries are not hashes")
	}
}

func TestID_DoesNotAllocate(t *testing.T) {
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	data := make([]byte, 20000)
	if n := testing.AllocsPerRun(100, func() { k.ID(chunk.Data, data) }); n > 0.1 {
		t.Errorf("ID allocates %v times", n)
	}
}

func TestSecrets_AreNotPrinted(t *testing.T) {
	t.Parallel()
	s := seal.Secret{0xde, 0xad, 0xbe, 0xef}
	k := keys(t, map[uint32]seal.Secret{1: s})
	var log bytes.Buffer
	o := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey { // in whose digits anything may stand
			return slog.Attr{}
		}
		return a
	}}
	slog.New(slog.NewTextHandler(&log, o)).Info("x", "secret", s, "keys", k)
	slog.New(slog.NewJSONHandler(&log, o)).Info("x", "secret", s, "keys", k)
	text := fmt.Sprintf("%v %s %+v %#v %v %s %+v", s, s, s, s, k, k, k) + log.String()
	for _, leak := range []string{"222", "dead", "0xde", "173"} {
		if strings.Contains(text, leak) {
			t.Errorf("%q is printed in %s", leak, text)
		}
	}
}

func TestOpenPack_ComparesTheCommitment(t *testing.T) {
	t.Parallel()
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	_, h, err := k.NewPack(seal.TypeDataPack, [16]byte{1}, [32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.OpenPack(h, [16]byte{1}); err != nil {
		t.Errorf("OpenPack = %v", err)
	}
	if _, err := k.OpenPack(h, [16]byte{2}); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("OpenPack of another id = %v, want ErrWrongKey", err)
	}
	h.Commitment[31] ^= 1
	if _, err := k.OpenPack(h, [16]byte{1}); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("OpenPack with another commitment = %v, want ErrWrongKey", err)
	}
}

func TestKeyRecord_RoundTrip(t *testing.T) {
	t.Parallel()
	domain, err := seal.SealDomain([16]byte{9}, 3, seal.Secret{1}, seal.Secret{2})
	if err != nil {
		t.Fatal(err)
	}
	r := seal.KeyRecord{Epoch: 3, Generation: 2, UUID: [16]byte{9}, KeyID: "alias/x", Wrapped: []byte("wrapped"),
		Links: [][]byte{[]byte("a"), []byte("b")}, Domain: domain, Created: time.Unix(1e9, 7).UTC()}
	got, err := seal.DecodeKeyRecord(r.Name(), r.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Errorf("key record (-want +got):\n%s", d)
	}
	if d, err := seal.OpenDomain([16]byte{9}, 3, seal.Secret{1}, got.Domain); d != (seal.Secret{2}) || err != nil {
		t.Errorf("OpenDomain = %x, %v", [32]byte(d), err)
	}
	if _, err := seal.OpenDomain([16]byte{9}, 4, seal.Secret{1}, got.Domain); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("OpenDomain of another epoch = %v, want ErrWrongKey", err)
	}
}

func TestFormat_RoundTripAndTampering(t *testing.T) {
	t.Parallel()
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	f := seal.DefaultFormat(k.UUID(), time.Unix(1e9, 0).UTC())
	b, err := f.Encode(k)
	if err != nil || len(b) != seal.FormatSize {
		t.Fatalf("Encode = %d bytes, %v", len(b), err)
	}
	got, err := seal.DecodeFormat("format", b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f, got); d != "" {
		t.Errorf("format (-want +got):\n%s", d)
	}
	if err := got.Verify(k, b); err != nil {
		t.Errorf("Verify = %v", err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if g, err := seal.DecodeFormat("format", c); err == nil && g.Verify(k, c) == nil {
			t.Errorf("byte %d can be changed", i)
		}
	}
}

func TestFormat_RefusesUnknownFeatures(t *testing.T) {
	t.Parallel()
	k := keys(t, map[uint32]seal.Secret{1: {7}})
	f := seal.DefaultFormat(k.UUID(), time.Unix(1e9, 0))
	f.Incompatible = 1 << 40
	b, err := f.Encode(k)
	if err != nil {
		t.Fatal(err)
	}
	var unsupported *seal.UnsupportedError
	if _, err := seal.DecodeFormat("format", b); !errors.As(err, &unsupported) || unsupported.Value != 40 {
		t.Errorf("DecodeFormat with an unknown feature = %v", err)
	}
	f.Incompatible, f.ReadOnly, f.Compatible = 0, 1<<3, 1<<63
	if b, err = f.Encode(k); err != nil {
		t.Fatal(err)
	}
	if g, err := seal.DecodeFormat("format", b); err != nil || g.Writable() == nil {
		t.Errorf("DecodeFormat with an unknown read-only feature = %v, Writable %v", err, g.Writable())
	}
}

func FuzzOpen(f *testing.F) {
	k := keys(f, map[uint32]seal.Secret{1: {7}})
	sealed, _ := k.Seal(seal.TypeManifest, "r/x", []byte("plain"))
	f.Add(sealed)
	f.Add(sealed[:seal.HeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := k.Open(seal.TypeManifest, "r/x", b); err == nil && string(got) != "plain" {
			t.Errorf("Open of forged bytes = %q", got)
		}
	})
}

func FuzzDecodeKeyRecord(f *testing.F) {
	f.Add(seal.KeyRecord{Epoch: 1, Generation: 1, KeyID: "a", Wrapped: []byte("b")}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := seal.DecodeKeyRecord("k/1-1", b); err == nil {
			if _, err := seal.DecodeKeyRecord("k/1-1", r.Encode()); err != nil {
				t.Errorf("decoded record does not encode: %v", err)
			}
		}
	})
}

func FuzzDecodeFormat(f *testing.F) {
	k := keys(f, map[uint32]seal.Secret{1: {7}})
	b, _ := seal.DefaultFormat(k.UUID(), time.Unix(1e9, 0)).Encode(k)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := seal.DecodeFormat("format", b); err == nil {
			_ = g.Verify(k, b)
		}
	})
}

func BenchmarkID(b *testing.B) {
	k := keys(b, map[uint32]seal.Secret{1: {7}})
	for _, n := range []int{512, 4 << 10, 15 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				k.ID(chunk.Data, data)
			}
		})
	}
}

func BenchmarkBoundary(b *testing.B) {
	k := keys(b, map[uint32]seal.Secret{1: {7}})
	key := make([]byte, 60)
	for b.Loop() {
		k.Boundary(key)
	}
}

func BenchmarkSeal(b *testing.B) {
	k := keys(b, map[uint32]seal.Secret{1: {7}})
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := k.Seal(seal.TypeSegment, "x/0/y", data); err != nil {
			b.Fatal(err)
		}
	}
}
