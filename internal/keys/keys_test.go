package keys_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/internal/keys"
	"github.com/lockfast/lockfast/repo"
)

var _ repo.KeyWrapper = (*keys.Root)(nil)

func create(t *testing.T) (*keys.Root, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.key")
	r, err := keys.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return r, path
}

func TestUnwrap_OpensWhatWasWrappedBeforeARestart(t *testing.T) {
	t.Parallel()
	r, path := create(t)
	wrapped, err := r.Wrap(t.Context(), []byte("secret"), []byte("vault"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := keys.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Unwrap(t.Context(), wrapped, []byte("vault"))
	if err != nil || string(got) != "secret" {
		t.Errorf("Unwrap = %q, %v", got, err)
	}
	if r.Derive("a") != again.Derive("a") || r.Derive("a") == r.Derive("b") {
		t.Error("Derive is not a function of key and purpose")
	}
}

func TestUnwrap_Refuses(t *testing.T) {
	t.Parallel()
	r, _ := create(t)
	other, _ := create(t)
	bind := []byte("vault")
	wrapped, err := r.Wrap(t.Context(), []byte("secret"), bind)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Unwrap(t.Context(), wrapped, bind)
	if !errors.Is(err, repo.ErrWrongKey) || !strings.Contains(err.Error(), r.KeyID()) || !strings.Contains(err.Error(), other.KeyID()) {
		t.Errorf("Unwrap by another key = %v, want %v naming %s and %s", err, repo.ErrWrongKey, r.KeyID(), other.KeyID())
	}
	if _, err := r.Unwrap(t.Context(), wrapped, []byte("vaults")); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("Unwrap with another bind = %v, want %v", err, repo.ErrDamaged)
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if _, err := r.Unwrap(t.Context(), bad, bind); err == nil {
			t.Errorf("Unwrap with byte %d flipped succeeded", i)
		}
		if _, err := r.Unwrap(t.Context(), wrapped[:i], bind); err == nil {
			t.Errorf("Unwrap of the first %d bytes succeeded", i)
		}
	}
}

func TestCreate_NeverReplaces(t *testing.T) {
	t.Parallel()
	_, path := create(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create = %v, want %v", err, fs.ErrExist)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key file changed: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v, want the key file only", entries, err)
	}
}

func TestOpen_NamesTheFileAndWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, path := create(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`[0-9a-f]{64}`).Find(good)
	key[10] ^= 1 // in place: the checksum is now wrong
	tests := []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"readable by others", string(good), 0o640, "mode 0640"},
		{"damaged key", string(good), 0o600, "damaged"},
		{"empty", "", 0o600, "damaged"},
		{"something else", strings.Repeat("x", 100_000), 0o600, "damaged"},
		{"later version", "lockfast-root-key-2:a:b:c", 0o600, "version \"2\""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "root.key")
			if err := os.WriteFile(path, []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			_, err := keys.Open(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("Open = %v, want an error with %q and the path", err, test.want)
			}
		})
	}
	if _, err := keys.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open = %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := keys.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Open of a folder = %v", err)
	}
}

func TestRoot_IsNeverPrinted(t *testing.T) {
	t.Parallel()
	r, path := create(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := regexp.MustCompile(`[0-9a-f]{64}`).FindString(string(text))
	raw, err := hex.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("start", "key", r)
	out := fmt.Sprintf("%v %+v %#v %s %x %d %v", r, r, r, r, r, r, struct{ R *keys.Root }{r}) + log.String()
	for _, s := range []string{secret, string(raw), fmt.Sprint(raw[:4]), strings.Trim(fmt.Sprint(raw[:4]), "[]")} {
		if strings.Contains(out, s) {
			t.Errorf("printed %q", out)
		}
	}
	if !strings.Contains(out, r.KeyID()) {
		t.Errorf("printed %q, want the key id in it", out)
	}
}
