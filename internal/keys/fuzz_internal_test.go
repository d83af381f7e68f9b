package keys

import (
	"strings"
	"testing"
)

func FuzzDecode(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.encode())
	f.Add("lockfast-root-key-1:::")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode(text)
		if err != nil {
			return
		}
		again, err := decode(r.encode())
		if err != nil || again.key != r.key {
			t.Errorf("decode(encode(decode(%q))) = %v, %v", text, again, err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := r.Wrap(f.Context(), []byte("key"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		key, err := r.Unwrap(t.Context(), wrapped, nil)
		if err == nil && string(key) != "key" {
			t.Errorf("Unwrap(%x) = %x", wrapped, key)
		}
	})
}

func FuzzUnwrapLinked(f *testing.F) {
	r, err := generate()
	if err != nil {
		f.Fatal(err)
	}
	n := KeyName{Account: "000000000000", Region: "us-east-1", ID: "id", Version: 1}
	material, err := r.NewMaterial(f.Context(), n)
	if err != nil {
		f.Fatal(err)
	}
	k, err := r.OpenKey(f.Context(), n, material)
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := k.Wrap(f.Context(), []byte("key"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.link, wrapped)
	f.Add([]byte{linkVersion, 0, 0, 0, 0, 255, 255}, []byte{keyVersion})
	f.Fuzz(func(t *testing.T, link, wrapped []byte) {
		key, err := r.UnwrapLinked(t.Context(), k.KeyID(), [][]byte{link}, wrapped, nil)
		if err == nil && string(key) != "key" {
			t.Errorf("UnwrapLinked(%x, %x) = %x", link, wrapped, key)
		}
	})
}

func FuzzParseSealed(f *testing.F) {
	f.Add("lockfast-sealed-root-key-1:0123456789abcdef:00000000:vault:v1:x")
	f.Add("lockfast-sealed-root-key-1:0123456789abcdef:" + checksum("0123456789abcdef:vault:v1:x d") + ":vault:v1:x d\n")
	f.Fuzz(func(t *testing.T, text string) {
		id, sealed, err := parseSealed(text)
		if err != nil {
			return
		}
		if again := sealedMagic + ":" + id + ":" + checksum(id+":"+sealed) + ":" + sealed; again != strings.TrimSpace(text) {
			t.Errorf("parseSealed(%q) = %q, %q", text, id, sealed)
		}
		versionOf(sealed)
	})
}
