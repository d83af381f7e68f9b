package registry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/registry"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/resource"
)

const account, region = "000000000000", "us-east-1"

// prober looks at the file system; it stands for the driver.
type prober struct{}

func (prober) Probe(_ context.Context, r resource.Resource) (resource.Facts, error) {
	info, err := os.Stat(r.Address["path"])
	switch {
	case err != nil:
		return resource.Facts{}, fmt.Errorf("probe %s: %w", r.Address["path"], resource.ErrNotFound)
	case !info.IsDir():
		return resource.Facts{}, fmt.Errorf("probe %s: %w", r.Address["path"], resource.ErrWrongKind)
	}
	return resource.Facts{Values: map[string]string{"file_system": "test"}}, nil
}

type anyTags struct{}

func (anyTags) CheckTags(tags map[string]string) error {
	if _, ok := tags["aws:bad"]; ok {
		return lockfastapi.InvalidParameterValueExceptionf("reserved")
	}
	return nil
}

func (anyTags) TagsTx(context.Context, *meta.Tx, string, string) (map[string]string, error) {
	return nil, nil
}

func run(t *testing.T, test func(t *testing.T, ctx context.Context, s *registry.Service, db *meta.DB)) {
	metatest.Run(t, func(t *testing.T, open func(*testing.T, ...meta.MigrationSet) *meta.DB) {
		db := open(t, registry.Migrations())
		ctx := caller.With(t.Context(), caller.Caller{Account: account, Region: region})
		test(t, ctx, registry.New(registry.Options{
			DB: db, Prober: prober{}, Tags: anyTags{}, Pager: restjson.NewPager([]byte("key")), Now: time.Now, Region: region,
		}), db)
	})
}

func TestRegisterResource_KeepsItsARN(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		dir := t.TempDir()
		first, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{
			Type: "EFS", Path: new(dir + "/./"), Name: new("homes"), Tags: map[string]string{"a": "1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if !first.Created || first.Path != dir || !strings.HasPrefix(first.ResourceArn, "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-") {
			t.Errorf("RegisterResource = %+v", first)
		}
		again, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(dir)})
		if err != nil || again.Created || again.ResourceArn != first.ResourceArn || again.Name != "homes" {
			t.Errorf("second RegisterResource = %+v, %v, want the first one's ARN and name", again, err)
		}
		described, err := s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{ResourceArn: first.ResourceArn})
		if err != nil || described.Tags["a"] != "1" || described.Origin != lockfastapi.ResourceOriginApi {
			t.Errorf("DescribeResource = %+v, %v", described, err)
		}
		if _, err := s.RemoveResource(ctx, &lockfastapi.RemoveResourceInput{ResourceArn: first.ResourceArn}); err != nil {
			t.Fatal(err)
		}
		_, err = s.DescribeResource(ctx, &lockfastapi.DescribeResourceInput{ResourceArn: first.ResourceArn})
		if _, ok := errors.AsType[*lockfastapi.ResourceNotFoundException](err); !ok {
			t.Errorf("DescribeResource after removal = %v, want ResourceNotFoundException", err)
		}
		back, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(dir)})
		if err != nil || !back.Created || back.ResourceArn != first.ResourceArn {
			t.Errorf("RegisterResource after removal = %+v, %v, want the same ARN", back, err)
		}
	})
}

func TestRegisterResource_Refuses(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			in   lockfastapi.RegisterResourceInput
			text string
		}{
			{"unknown type", lockfastapi.RegisterResourceInput{Type: "Floppy", Path: new("/")}, "Floppy"},
			{"relative path", lockfastapi.RegisterResourceInput{Type: "EFS", Path: new("home")}, "not absolute"},
			{"missing path", lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(file + "2")}, file + "2: resource does not exist"},
			{"file", lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(file)}, "another kind"},
			{"tag", lockfastapi.RegisterResourceInput{Type: "EFS", Path: new("/"), Tags: map[string]string{"aws:bad": ""}}, "reserved"},
		} {
			_, err := s.RegisterResource(ctx, &c.in)
			invalid, ok := errors.AsType[*lockfastapi.InvalidParameterValueException](err)
			if !ok || !strings.Contains(invalid.Message, c.text) {
				t.Errorf("%s: %v, want InvalidParameterValueException with %q", c.name, err, c.text)
			}
		}
		elsewhere := caller.With(ctx, caller.Caller{Account: account, Region: "eu-west-1"})
		_, err := s.RegisterResource(elsewhere, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new("/")})
		if _, ok := errors.AsType[*lockfastapi.InvalidParameterValueException](err); !ok {
			t.Errorf("RegisterResource in another region = %v, want InvalidParameterValueException", err)
		}
	})
}

func TestDeclare_WithdrawsWhatWentOutOfTheFile(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		paths := func() []string {
			out, err := s.ListResources(ctx, &lockfastapi.ListResourcesInput{MaxResults: new(1)})
			if err != nil {
				t.Fatal(err)
			}
			all := []string{}
			for {
				for _, r := range out.Resources {
					all = append(all, r.Path)
				}
				if out.NextToken == nil {
					return all
				}
				if out, err = s.ListResources(ctx, &lockfastapi.ListResourcesInput{MaxResults: new(1), NextToken: out.NextToken}); err != nil {
					t.Fatal(err)
				}
			}
		}
		dir := t.TempDir()
		if _, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(dir)}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ declared, want []string }{
			{[]string{"/a", "/b"}, []string{"/a", "/b", dir}},
			{[]string{"/b"}, []string{"/b", dir}},
			{nil, []string{dir}},
		} {
			var list []registry.Declared
			for _, p := range c.declared {
				list = append(list, registry.Declared{Path: p})
			}
			if err := s.Declare(ctx, account, list); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, paths()); diff != "" {
				t.Errorf("resources after Declare(%v) (-want +got):\n%s", c.declared, diff)
			}
		}
		if err := s.Declare(ctx, account, []registry.Declared{{Path: "/a"}}); err != nil {
			t.Fatal(err)
		}
		_, err := s.RemoveResource(ctx, &lockfastapi.RemoveResourceInput{ResourceArn: registry.ARN(account, region, "/a")})
		if _, ok := errors.AsType[*lockfastapi.InvalidRequestException](err); !ok {
			t.Errorf("RemoveResource of one from the file = %v, want InvalidRequestException", err)
		}
	})
}

func TestTestResource_SaysWhatIsWrong(t *testing.T) {
	run(t, func(t *testing.T, ctx context.Context, s *registry.Service, _ *meta.DB) {
		dir := filepath.Join(t.TempDir(), "dir")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		in := &lockfastapi.TestResourceInput{ResourceArn: registry.ARN(account, region, dir)}
		if _, err := s.RegisterResource(ctx, &lockfastapi.RegisterResourceInput{Type: "EFS", Path: new(dir)}); err != nil {
			t.Fatal(err)
		}
		if out, err := s.TestResource(ctx, in); err != nil || !out.Reachable || out.Facts["file_system"] != "test" {
			t.Errorf("TestResource = %+v, %v", out, err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if out, err := s.TestResource(ctx, in); err != nil || out.Reachable || !strings.Contains(*out.Message, dir) {
			t.Errorf("TestResource of a vanished directory = %+v, %v, want its path", out, err)
		}
	})
}
