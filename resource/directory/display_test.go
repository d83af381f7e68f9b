package directory_test

import (
	"bytes"
	"testing"

	"github.com/lockfast/lockfast/resource/directory"
)

func FuzzDisplay(f *testing.F) {
	for _, path := range []string{"", "a/b", `a\b`, `\xff`, "\xff", `\\xff`, "ä", "\u0080", "\x80", "new\nline", "\u00a0", "\ufffd", "\U000e0001", `'"`, "\xc3", "\x7f", `\`} {
		f.Add([]byte(path))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		text := directory.Display(path)
		if back, err := directory.ParseDisplay(text); err != nil || !bytes.Equal(back, path) {
			t.Errorf("ParseDisplay(%q) = %q, %v, want %q", text, back, err, path)
		}
		if other, err := directory.ParseDisplay(string(path)); err == nil && directory.Display(other) != string(path) {
			t.Errorf("ParseDisplay(%q) = %q, which is displayed as %q", path, other, directory.Display(other))
		}
	})
}

func TestParseDisplay_TakesOneFormOnly(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`\`, `a\`, `\xf`, `\q`, `\x41`, `\u0041`, "\xff", "new\nline", `\xc3\xa4`, `\'`, `\101`} {
		if path, err := directory.ParseDisplay(text); err == nil {
			t.Errorf("ParseDisplay(%q) = %q, want an error", text, path)
		}
	}
}
