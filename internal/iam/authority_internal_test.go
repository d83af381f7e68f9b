package iam

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
)

func TestAllowAll_OneAlternativeIsEnough(t *testing.T) {
	t.Parallel()
	rights := []caller.Access{{Action: "a:First", Resource: "r"}, {Action: "a:Second", Resource: "r", Or: caller.On("a:Instead", "s")}}
	for _, c := range []struct {
		name    string
		rulings map[string]ruling
		want    error
	}{
		{"all", map[string]ruling{"a:First": allowed, "a:Second": allowed}, nil},
		{"alternative", map[string]ruling{"a:First": allowed, "a:Instead": allowed}, nil},
		{"nothing", nil, &RoleDenied{"role", "a:First", "r"}},
		{"neither", map[string]ruling{"a:First": allowed}, &RoleDenied{"role", "a:Second", "r"}},
		{"only the second", map[string]ruling{"a:Second": allowed, "a:Instead": allowed}, &RoleDenied{"role", "a:First", "r"}},
		{"denied", map[string]ruling{"a:First": denied, "a:Second": allowed}, &RoleDenied{"role", "a:First", "r"}},
		{"alternative denied", map[string]ruling{"a:First": allowed, "a:Second": allowed, "a:Instead": denied}, &RoleDenied{"role", "a:Instead", "s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := allowAll("role", rights, func(a caller.Access) (ruling, error) { return c.rulings[a.Action], nil })
			if diff := cmp.Diff(c.want, err); diff != "" {
				t.Error(diff)
			}
		})
	}
	broken := errors.New("broken")
	if err := allowAll("role", rights, func(caller.Access) (ruling, error) { return allowed, broken }); !errors.Is(err, broken) {
		t.Errorf("allowAll = %v, want %v", err, broken)
	}
}
