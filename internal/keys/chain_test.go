package keys_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
)

var (
	_ repo.ChainWrapper = (*keys.Root)(nil)
	_ repo.ChainWrapper = (*keys.Key)(nil)
)

func name(version uint32) keys.KeyName {
	return keys.KeyName{Account: "000000000000", Region: "eu-north-1", ID: "9f0b8e0a-6f5e-4f9b-8a51-6a3f3b1d2c11", Version: version}
}

func open(t *testing.T, r *keys.Root, n keys.KeyName) (k *keys.Key, wrapped []byte) {
	t.Helper()
	wrapped, err := r.NewMaterial(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if k, err = r.OpenKey(t.Context(), n, wrapped); err != nil {
		t.Fatal(err)
	}
	return k, wrapped
}

func TestChain_NeedsTheRootKeyAndTheLinkOnly(t *testing.T) {
	t.Parallel()
	r, path := create(t)
	k, _ := open(t, r, name(2))
	wrapped, err := k.Wrap(t.Context(), []byte("secret"), []byte("vault"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.UnwrapLinked(t.Context(), k.KeyID(), k.Links(), wrapped, []byte("vault"))
	if err != nil || string(got) != "secret" {
		t.Errorf("UnwrapLinked = %q, %v", got, err)
	}
	plain, err := r.Wrap(t.Context(), []byte("older"), []byte("vault"))
	if err != nil {
		t.Fatal(err)
	}
	got, err = again.UnwrapLinked(t.Context(), r.KeyID(), nil, plain, []byte("vault"))
	if err != nil || string(got) != "older" {
		t.Errorf("UnwrapLinked without links = %q, %v", got, err)
	}
}

func TestChain_Refuses(t *testing.T) {
	t.Parallel()
	r, _ := create(t)
	other, _ := create(t)
	k, material := open(t, r, name(1))
	second, _ := open(t, r, name(2))
	bind := []byte("vault")
	wrapped, err := k.Wrap(t.Context(), []byte("secret"), bind)
	if err != nil {
		t.Fatal(err)
	}
	for i, bad := range []keys.KeyName{name(2), {Account: "000000000001", ID: name(1).ID, Version: 1}, {Account: "000000000000", ID: "x", Version: 1}} {
		if _, err := r.OpenKey(t.Context(), bad, material); !errors.Is(err, repo.ErrDamaged) {
			t.Errorf("%d: OpenKey of material of another key = %v", i, err)
		}
	}
	if _, err := other.UnwrapLinked(t.Context(), k.KeyID(), k.Links(), wrapped, bind); !errors.Is(err, repo.ErrWrongKey) {
		t.Errorf("UnwrapLinked by another root key = %v", err)
	}
	if _, err := second.Unwrap(t.Context(), wrapped, bind); !errors.Is(err, repo.ErrWrongKey) {
		t.Errorf("Unwrap by another version = %v", err)
	}
	if _, err := r.UnwrapLinked(t.Context(), "arn:aws:kms:eu-north-1:000000000000:key/x", k.Links(), wrapped, bind); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("UnwrapLinked for another key = %v", err)
	}
	if _, err := r.UnwrapLinked(t.Context(), k.KeyID(), append(k.Links(), k.Links()...), wrapped, bind); !errors.Is(err, repo.ErrFormat) {
		t.Errorf("UnwrapLinked of two links = %v", err)
	}
	link := k.Links()[0]
	for i := range link {
		bad := bytes.Clone(link)
		bad[i] ^= 1
		if _, err := r.UnwrapLinked(t.Context(), k.KeyID(), [][]byte{bad}, wrapped, bind); err == nil {
			t.Errorf("UnwrapLinked with byte %d of the link flipped succeeded", i)
		}
		if _, err := r.UnwrapLinked(t.Context(), k.KeyID(), [][]byte{link[:i]}, wrapped, bind); err == nil {
			t.Errorf("UnwrapLinked with the first %d bytes of the link succeeded", i)
		}
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := k.Unwrap(t.Context(), bad, bind); err == nil {
			t.Errorf("Unwrap with byte %d flipped succeeded", i)
		}
		if _, err := k.Unwrap(t.Context(), wrapped[:i], bind); err == nil {
			t.Errorf("Unwrap of the first %d bytes succeeded", i)
		}
	}
	if _, err := k.Unwrap(t.Context(), wrapped, []byte("other")); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("Unwrap with another bind = %v", err)
	}
}

func TestKey_IsNeverPrinted(t *testing.T) {
	t.Parallel()
	r, _ := create(t)
	k, _ := open(t, r, name(7))
	const want = "KMS key arn:aws:kms:eu-north-1:000000000000:key/9f0b8e0a-6f5e-4f9b-8a51-6a3f3b1d2c11 version 7"
	if got := fmt.Sprintf("%v|%+v|%#v|%s|%x", k, k, k, k, k); got != want+"|"+want+"|"+want+"|"+want+"|"+want {
		t.Errorf("printed %q", got)
	}
}
