package kms_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// FuzzCiphertextBlob decrypts anything, and what a key made with a byte changed, cut off or added: only what a key made is decrypted,
// and to the same text; all else is the caller's mistake.
func FuzzCiphertextBlob(f *testing.F) {
	root, err := keys.Create(filepath.Join(f.TempDir(), "root.key"))
	if err != nil {
		f.Fatal(err)
	}
	db := metatest.Open(f, meta.Options{URL: metatest.SQLite(f)}, kms.Migrations())
	s := kms.New(kms.Options{DB: db, Root: root, Principals: &fixture{}, Vaults: &fixture{}, Pager: restjson.NewPager([]byte("key")), Now: time.Now})
	ctx := caller.With(context.Background(), caller.Caller{Account: account, Region: region, ARN: "arn:aws:iam::" + account + ":user/alice",
		UserID: "AIDAALICE", Kind: caller.User})
	made, err := s.CreateKey(ctx, &kmsapi.CreateKeyInput{})
	if err != nil {
		f.Fatal(err)
	}
	encrypted, err := s.Encrypt(ctx, &kmsapi.EncryptInput{KeyId: made.KeyMetadata.KeyId, Plaintext: []byte("text")})
	if err != nil {
		f.Fatal(err)
	}
	sound := encrypted.CiphertextBlob
	head := append([]byte{1}, make([]byte, 20)...)
	for _, raw := range [][]byte{nil, {1}, {2}, head, append(slices.Clone(head), 1), bytes.Repeat([]byte{255}, 6144), sound} {
		for i, flip := range []byte{0, 1, 128} {
			f.Add(raw, uint16(i*7), flip)
		}
	}
	for at := range len(sound) { // cut everywhere
		f.Add([]byte{0}, uint16(at), byte(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, at uint16, flip byte) {
		changed := slices.Clone(sound)
		changed[int(at)%len(sound)] ^= flip
		for _, blob := range [][]byte{raw, changed, sound[:int(at)%len(sound)], slices.Concat(sound, raw)} {
			out, err := s.Decrypt(ctx, &kmsapi.DecryptInput{CiphertextBlob: blob})
			if bytes.Equal(blob, sound) {
				if err != nil || string(out.Plaintext) != "text" {
					t.Errorf("Decrypt of what was encrypted = %+v, %v", out, err)
				}
				continue
			}
			api, ok := errors.AsType[wire.APIError](err)
			if !ok || api.ErrorName() != "InvalidCiphertextException" && api.ErrorName() != "NotFoundException" {
				t.Errorf("Decrypt(%x) = %+v, %v, want a refusal", blob, out, err)
			}
		}
	})
}
