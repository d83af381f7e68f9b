package wire_test

import (
	"testing"

	"github.com/lockfast/lockfast/internal/wire"
)

func TestPattern_MatchesTheWholeString(t *testing.T) {
	t.Parallel()
	p := wire.NewPattern("a.c|b")
	for s, want := range map[string]bool{"abc": true, "a\nc": true, "b": true, "xb": false, "bx": false, "b\n": false, "": false} {
		if got := p.MatchString(s); got != want {
			t.Errorf("MatchString(%q) = %t, want %t", s, got, want)
		}
	}
	if p.String() != "a.c|b" {
		t.Errorf("String() = %s", p)
	}
}
