package vector_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/seal"
)

var add = flag.Bool("add", false, "write vectors that do not exist yet; those that do are frozen")

// vector is one case: its name, and its inputs and outputs by name, bytes in hex.
type vector struct {
	Name   string            `json:"name"`
	Values map[string]string `json:"values"`
}

// file is a file of vectors.
type file struct {
	Description string   `json:"description"`
	Section     string   `json:"section"` // of docs/format.md
	Vectors     []vector `json:"vectors"`
}

// compare holds computed vectors against those in a file.
func compare(t *testing.T, name string, got file) {
	t.Helper()
	path := filepath.Join("..", "testdata", "v1", name)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *add {
		data, err = json.MarshalIndent(got, "", "\t")
		if err == nil {
			data = append(data, '\n')
			err = os.WriteFile(path, data, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var want file
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-frozen +computed):\n%s", name, d)
	}
}

// Inputs of all vectors.
func domainKey() seal.Secret { return seal.Secret(count(0x00, 32)) }
func vaultKey() seal.Secret  { return seal.Secret(count(0x20, 32)) }
func uuid() [16]byte         { return [16]byte(count(0x40, 16)) }
func created() time.Time     { return time.Unix(1_700_000_000, 123_456_789).UTC() }

// count returns n bytes that count up from first.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// stream returns n bytes x(0), x(1), ... with x(i) = low 8 bits of i * i >> 3.
func stream(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

// random is the source of ids and salts: bytes that count up from 0x80.
func random() io.Reader { return bytes.NewReader(count(0x80, 200)) }

func keys(t *testing.T) *seal.Keys {
	t.Helper()
	k, err := seal.New(uuid(), domainKey(), map[uint32]seal.Secret{1: vaultKey()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func toHex[T ~[]byte](b T) string { return hex.EncodeToString(b) }

func idHex[T ~[16]byte](id T) string { b := [16]byte(id); return hex.EncodeToString(b[:]) }

// inputs are the keys that a file's vectors start from.
func inputs() vector {
	d, v, u := domainKey(), vaultKey(), uuid()
	return vector{Name: "inputs", Values: map[string]string{"domain_key": toHex(d[:]), "vault_key": toHex(v[:]),
		"uuid": toHex(u[:]), "epoch": "1"}}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	k := keys(t)
	f := file{
		Description: "Ids of contents, and boundary hashes of keys as u64 little-endian. stream(n) is n bytes, byte i " +
			"the low 8 bits of i*i>>3.", Section: "4.2, 5.2", Vectors: []vector{inputs()}}
	for _, n := range []int{0, 1, 16, 1024, 1025, 8192, 8193, 100_000} {
		values := map[string]string{}
		for _, kind := range []chunk.Kind{chunk.Data, chunk.Bundle, chunk.Node, chunk.List} {
			values[kind.String()] = idHex(k.ID(kind, stream(n)))
		}
		b := k.Boundary(stream(n))
		values["boundary"] = toHex([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24), byte(b >> 32),
			byte(b >> 40), byte(b >> 48), byte(b >> 56)})
		f.Vectors = append(f.Vectors, vector{Name: "stream(" + json.Number(itoa(n)).String() + ")", Values: values})
	}
	compare(t, "id.json", f)
}

func TestKeyDerivation(t *testing.T) {
	t.Parallel()
	k := keys(t)
	f := file{Description: "Keys of packs: commitment, and the AEAD shown by sealing nothing with nonce zero.",
		Section: "5.2", Vectors: []vector{inputs()}}
	chunker := k.ChunkerKey()
	f.Vectors = append(f.Vectors, vector{Name: "chunker key", Values: map[string]string{"key": toHex(chunker[:])}})
	for _, typ := range []seal.Type{seal.TypeDataPack, seal.TypeMetaPack, seal.TypeColdPack} {
		p, err := k.PackKey(typ, 1, [16]byte(count(0x60, 16)), [32]byte(count(0x80, 32)))
		if err != nil {
			t.Fatal(err)
		}
		f.Vectors = append(f.Vectors, vector{Name: typ.String(), Values: map[string]string{
			"id": toHex(count(0x60, 16)), "salt": toHex(count(0x80, 32)), "commitment": toHex(p.Commitment[:]),
			"tag": toHex(p.AEAD.Seal(nil, make([]byte, 12), nil, nil))}})
	}
	compare(t, "key.json", f)
}

func TestSealedObjects(t *testing.T) {
	t.Parallel()
	k := keys(t)
	f := file{
		Description: "Sealed objects. The plain text of the long one is stream(65537), of which only the BLAKE3 id as " +
			"data is given for the sealed bytes.", Section: "5.3", Vectors: []vector{inputs()}}
	for name, plain := range map[string][]byte{"r/empty": {}, "r/short": []byte("plain text")} {
		sealed, err := k.SealRand(random(), seal.TypeManifest, name, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(seal.TypeManifest, name, sealed); !bytes.Equal(got, plain) || err != nil {
			t.Errorf("Open = %q, %v", got, err)
		}
		f.Vectors = append(f.Vectors, vector{Name: name, Values: map[string]string{"type": "7", "plain": toHex(plain),
			"sealed": toHex(sealed)}})
	}
	if f.Vectors[1].Name == "r/short" {
		f.Vectors[1], f.Vectors[2] = f.Vectors[2], f.Vectors[1]
	}
	long, err := k.SealRand(random(), seal.TypeSegment, "x/0/long", stream(65537))
	if err != nil {
		t.Fatal(err)
	}
	f.Vectors = append(f.Vectors, vector{Name: "x/0/long", Values: map[string]string{"type": "6",
		"sealed_length": itoa(len(long)), "sealed_id": idHex(k.ID(chunk.Data, long))}})
	compare(t, "object.json", f)
}

func TestKeyAndFormatObjects(t *testing.T) {
	t.Parallel()
	k := keys(t)
	domain, err := seal.SealDomainRand(random(), uuid(), 1, vaultKey(), domainKey())
	if err != nil {
		t.Fatal(err)
	}
	r := seal.KeyRecord{Epoch: 1, Generation: 2, UUID: uuid(), KeyID: "key-1",
		Wrapped: []byte("wrapped by its wrapper"), Links: [][]byte{[]byte("link")}, Domain: domain, Created: created()}
	format, err := seal.DefaultFormat(uuid(), created()).Encode(k)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "vault.json", file{Description: "The key object and the format object of a new vault.",
		Section: "3, 5.4", Vectors: []vector{inputs(),
			{Name: r.Name(), Values: map[string]string{"object": toHex(r.Encode()), "bind": toHex(r.Bind())}},
			{Name: "format", Values: map[string]string{"object": toHex(format)}}}})
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }
