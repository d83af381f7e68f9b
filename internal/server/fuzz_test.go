package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lockfast/lockfast/internal/server"
)

// FuzzCredentials adds a key to a file that may hold anything: it is read again, and no other profile is changed by it.
func FuzzCredentials(f *testing.F) {
	mine := "# mine\n[mine]\naws_access_key_id = M\naws_secret_access_key = m"
	for _, text := range []string{
		"", mine, mine + "\n\n[default]\naws_access_key_id=A\naws_session_token=t", "[default]\r\naws_access_key_id = A\r\n[other", "[mine]\n=\n[ mine ]\n",
		"\xff\x00[", "[]\naws_access_key_id = x", strings.Repeat("x", 70_000) + "\n" + mine, ";[mine]\n  [mine]  \n aws_secret_access_key = a = b ",
	} {
		f.Add([]byte(text), "default", "mine", "AKIA", "s+e/c=")
		f.Add([]byte(text), "mine", "default", "A", "s")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, profile, other, id, secret string) {
		for _, text := range []string{profile, id, secret} {
			if text == "" || text != strings.TrimSpace(text) || strings.ContainsAny(text, "\r\n[]") {
				return // what no account, key or secret looks like
			}
		}
		name := server.CredentialsFile(dir)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		before, errBefore := server.ReadCredentials(name, other)
		want := server.AccessKey{ID: id, Secret: secret}
		for range 2 {
			if err := server.AddCredentials(dir, profile, want); err != nil {
				t.Fatal(err)
			}
			if got, err := server.ReadCredentials(name, profile); err != nil || got != want {
				t.Errorf("ReadCredentials(%q) = %v, %v after a key was added", profile, got, err)
			}
		}
		after, errAfter := server.ReadCredentials(name, other)
		if other != profile && (after != before || (errBefore == nil) != (errAfter == nil)) {
			t.Errorf("profile %q was %+v, %v and is %+v, %v", other, before, errBefore, after, errAfter)
		}
	})
}

// FuzzAddress reads a server.json that may hold anything: it is an address that can be tried, and says the same when it is written again, or none.
func FuzzAddress(f *testing.F) {
	for _, text := range []string{
		`{"url":"http://127.0.0.1:8200","pid":7,"region":"eu-north-1","certificate":"/srv/cert.pem"}`, `{"url":"x","pid":-1}`, `{"url":"","pid":1}`,
		`{"URL":"x","PID":1e3}`, `{"url":"x","pid":99999999999999999999}`, `{"url":"\ud800","pid":1}`, `null`, `[]`, `{`, "", "{}{}", "\xff",
	} {
		f.Add([]byte(text))
	}
	dir, err := server.LockDirectory(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = dir.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir.Path(), "server.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := server.ReadAddress(dir.Path())
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				t.Errorf("ReadAddress(%q) = %v, want no server", data, err)
			}
			return
		}
		if a.URL == "" || a.PID <= 0 || !utf8.ValidString(a.URL) {
			t.Errorf("ReadAddress(%q) = %+v", data, a)
		}
		if err := dir.Announce(a); err != nil {
			t.Fatal(err)
		}
		if again, err := server.ReadAddress(dir.Path()); err != nil || again != a {
			t.Errorf("ReadAddress = %+v, %v after %+v was announced", again, err, a)
		}
	})
}
