package registry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/registry"
)

// directory declares a new directory under a name and returns its ARN and path.
func directory(t *testing.T, ctx context.Context, s *registry.Service, name string) (arn, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: &path})
	if err != nil {
		t.Fatal(err)
	}
	return out.ResourceArn, path
}

func group(ctx context.Context, s *registry.Service, name string, members ...string) (*lockfastapi.RegisterResourceOutput, error) {
	return s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "CloudFormation", Name: &name, Members: members})
}

func TestRegisterResource_Group(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, db *meta.DB) {
		web, _ := directory(t, ctx, s, "web")
		crm, _ := directory(t, ctx, s, "crm")
		first, err := group(ctx, s, "shop", "web", "crm")
		if err != nil {
			t.Fatal(err)
		}
		pattern := regexp.MustCompile(`^arn:aws:cloudformation:us-east-1:000000000000:stack/shop/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
		if !pattern.MatchString(first.ResourceArn) || !first.Created || first.Type != "CloudFormation" || first.Path != "" ||
			!cmp.Equal([]string{"web", "crm"}, first.Members) {
			t.Errorf("RegisterResource = %+v", first)
		}
		if kind, ok := s.TypeOf(first.ResourceArn); kind != registry.CloudFormation || !ok {
			t.Errorf("TypeOf = %q, %t", kind, ok)
		}
		again, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "CloudFormation", Name: new("shop"),
			Tags: map[string]string{"a": "1"}})
		if err != nil || again.Created || again.ResourceArn != first.ResourceArn || !cmp.Equal(first.Members, again.Members) {
			t.Errorf("second RegisterResource = %+v, %v, want the members kept", again, err)
		}
		d, err := s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{ResourceArn: first.ResourceArn})
		if err != nil || d.Tags["a"] != "1" || !cmp.Equal(first.Members, d.Members) {
			t.Errorf("DescribeResource = %+v, %v", d, err)
		}
		var found registry.Declared
		if err := db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			found, _, err = s.FindTx(ctx, tx, account, region, first.ResourceArn)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]registry.Member{{Name: "web", ARN: web}, {Name: "crm", ARN: crm}}, found.Members); diff != "" {
			t.Error(diff)
		}
		if fewer, err := group(ctx, s, "shop", "crm"); err != nil || !cmp.Equal([]string{"crm"}, fewer.Members) {
			t.Errorf("RegisterResource with other members = %+v, %v", fewer, err)
		}
	})
}

func TestRegisterResource_RefusesGroups(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		directory(t, ctx, s, "web")
		directory(t, ctx, s, "twin")
		directory(t, ctx, s, "twin")
		must := func(name string, members ...string) {
			t.Helper()
			if _, err := group(ctx, s, name, members...); err != nil {
				t.Fatal(err)
			}
		}
		must("inner", "web")
		must("outer", "inner")
		deepest := "outer"
		for i := 3; i <= registry.MaxLayers; i++ { // outer has two layers
			next := fmt.Sprint("layer", i)
			must(next, deepest)
			deepest = next
		}
		must(fmt.Sprint("layer", registry.MaxLayers+1), "web") // beside them
		tests := []struct {
			name string
			in   lockfastapi.RegisterResourceInput
			text string
		}{
			{"no name", lockfastapi.RegisterResourceInput{Members: []string{"web"}}, "Name: a resource of type CloudFormation needs one."},
			{"bad name", lockfastapi.RegisterResourceInput{Name: new("a b"), Members: []string{"web"}}, `Name: name "a b": a group needs`},
			{"path", lockfastapi.RegisterResourceInput{Name: new("g"), Path: new("/x"), Members: []string{"web"}}, "Path: "},
			{"no members", lockfastapi.RegisterResourceInput{Name: new("g")}, "Members: a group needs at least one."},
			{"unknown member", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{"web", "nobody"}},
				`Members: no resource has the name "nobody".`},
			{"ambiguous member", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{"twin"}},
				`Members: more than one resource has the name "twin", among them arn:`},
			{"twice", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{"web", "web"}},
				`Members: group "g" contains "web" twice.`},
			{"twice below", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{"web", "inner"}},
				`Members: group "g" contains "web" twice: in "g" and in "inner".`},
			{"twice above", lockfastapi.RegisterResourceInput{Name: new("outer"), Members: []string{"inner", "web"}},
				`Members: group "outer" contains "web" twice: in "inner" and in "outer".`},
			{"itself", lockfastapi.RegisterResourceInput{Name: new("inner"), Members: []string{"inner"}},
				`Members: group "inner" contains itself: inner > inner.`},
			{"cycle", lockfastapi.RegisterResourceInput{Name: new("inner"), Members: []string{"outer"}},
				`Members: group "inner" contains itself: inner > outer > inner.`},
			{"too deep", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{deepest}}, `Members: group "g" has more than 10 layers.`},
			{"members of a directory", lockfastapi.RegisterResourceInput{Type: "EFS", Path: new("/"), Members: []string{"web"}}, "Members: only"},
			{"directory without a path", lockfastapi.RegisterResourceInput{Type: "EFS"}, "Path: a resource of type EFS needs one."},
			{"tag", lockfastapi.RegisterResourceInput{Name: new("g"), Members: []string{"web"}, Tags: map[string]string{"aws:bad": ""}}, "reserved"},
		}
		for _, tt := range tests {
			if tt.in.Type == "" {
				tt.in.Type = registry.CloudFormation
			}
			_, err := s.RegisterResource(ctx, &tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.text)
			}
		}
		if d, err := s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{
			ResourceArn: registry.GroupARN(account, region, "inner")}); err != nil || !cmp.Equal([]string{"web"}, d.Members) {
			t.Errorf("after the refusals the group is %+v, %v, want it unchanged", d, err)
		}
		// One that becomes too deep through a group inside it.
		_, err := group(ctx, s, "inner", fmt.Sprint("layer", registry.MaxLayers+1))
		if err == nil || !strings.Contains(err.Error(), "has more than 10 layers") {
			t.Errorf("deepening the innermost group: %v, want it refused", err)
		}
	})
}

func TestRemoveResource_OfAMember(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		web, _ := directory(t, ctx, s, "web")
		shop, err := group(ctx, s, "shop", "web")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.RemoveResource(ctx, &lockfastapi.RemoveResourceInput{ResourceArn: web})
		if refused, ok := errors.AsType[*lockfastapi.InvalidRequestException](err); !ok || !strings.Contains(refused.Message, `"shop"`) {
			t.Errorf("RemoveResource of a member = %v, want InvalidRequestException that names the group", err)
		}
		for _, arn := range []string{shop.ResourceArn, web} {
			if _, err := s.RemoveResource(ctx, &lockfastapi.RemoveResourceInput{ResourceArn: arn}); err != nil {
				t.Errorf("RemoveResource(%s) = %v", arn, err)
			}
		}
	})
}

func TestTestResource_OfAGroup(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		directory(t, ctx, s, "web")
		_, crm := directory(t, ctx, s, "crm")
		for name, members := range map[string][]string{"inner": {"crm"}} {
			if _, err := group(ctx, s, name, members...); err != nil {
				t.Fatal(err)
			}
		}
		shop, err := group(ctx, s, "shop", "web", "inner")
		if err != nil {
			t.Fatal(err)
		}
		in := &lockfastapi.TestResourceInput{ResourceArn: shop.ResourceArn}
		if out, err := s.TestResource(ctx, in); err != nil || !out.Reachable {
			t.Errorf("TestResource = %+v, %v, want it reachable", out, err)
		}
		if err := os.Remove(crm); err != nil {
			t.Fatal(err)
		}
		if out, err := s.TestResource(ctx, in); err != nil || out.Reachable || !strings.HasPrefix(*out.Message, "member inner: member crm: ") {
			t.Errorf("TestResource without a member's directory = %+v, %v", out, err)
		}
	})
}

func TestDeclare_Groups(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		list := func() []registry.Declared {
			return []registry.Declared{
				{Type: registry.CloudFormation, Name: "shop", Members: []registry.Member{{Name: "web"}, {Name: "crm"}}},
				{Path: "/srv/web/"}, {Path: "/srv/x", Name: "crm"},
			}
		}
		members := func() []string {
			d, err := s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{ResourceArn: registry.GroupARN(account, region, "shop")})
			if err != nil {
				t.Fatal(err)
			}
			return d.Members
		}
		for range 2 {
			if err := s.Declare(ctx, account, list()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"web", "crm"}, members()); diff != "" {
				t.Error(diff)
			}
		}
		if err := s.Declare(ctx, account, list()[1:]); err != nil {
			t.Fatal(err)
		}
		_, err := s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{ResourceArn: registry.GroupARN(account, region, "shop")})
		if _, ok := errors.AsType[*lockfastapi.ResourceNotFoundException](err); !ok {
			t.Errorf("DescribeResource of a withdrawn group = %v, want ResourceNotFoundException", err)
		}
		if err := s.Declare(ctx, account, list()[:2]); err == nil || !strings.Contains(err.Error(), `its member "crm"`) {
			t.Errorf("Declare without a member = %v, want it named", err)
		}
	})
}

func TestCheckGroups(t *testing.T) {
	t.Parallel()
	deep := map[string][]string{}
	for i := range registry.MaxLayers {
		deep[fmt.Sprint("g", i)] = []string{fmt.Sprint("g", i+1)}
	}
	tooDeep := map[string][]string{"a": {"g0"}}
	for k, v := range deep {
		tooDeep[k] = v
	}
	tests := []struct {
		name    string
		members map[string][]string
		want    string
	}{
		{"none", nil, ""},
		{"nested", map[string][]string{"a": {"b", "x"}, "b": {"y", "z"}}, ""},
		{"shared by two", map[string][]string{"a": {"x"}, "b": {"x"}}, ""},
		{"twice", map[string][]string{"a": {"x", "y", "x"}}, `group "a" contains "x" twice`},
		{"two ways", map[string][]string{"a": {"b", "c"}, "b": {"x"}, "c": {"x"}}, `group "a" contains "x" twice: in "b" and in "c"`},
		{"cycle", map[string][]string{"b": {"c"}, "c": {"d"}, "d": {"b"}}, `group "b" contains itself: b > c > d > b`},
		{"cycle below", map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}}, `group "b" contains itself: b > c > b`},
		{"ten layers", deep, ""},
		{"eleven layers", tooDeep, `group "a" has more than 10 layers`},
	}
	for _, tt := range tests {
		got := ""
		if err := registry.CheckGroups(tt.members); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: CheckGroups = %q, want %q", tt.name, got, tt.want)
		}
	}
}
