package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/backup"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/server"
)

func TestConfigDecode(t *testing.T) {
	t.Parallel()
	const text = `
account: "000000000007"
listen: 127.0.0.1:0
lifecycle_interval: 5s
log_level: debug
resources:
- {name: homes, type: EFS, path: /srv/home, tags: {backup: daily}}
- {name: shop, type: CloudFormation, members: [homes]}
placements:
- {name: us-east-1a, directory: /srv/restore}
`
	got := server.DefaultConfig()
	if err := got.Decode([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := got.Check(); err != nil {
		t.Fatal(err)
	}
	want := server.DefaultConfig()
	want.Account, want.Listen, want.LifecycleInterval, want.LogLevel = "000000000007", "127.0.0.1:0", 5*time.Second, -4
	want.Resources = []server.Resource{
		{Name: "homes", Type: "EFS", Path: "/srv/home", Tags: map[string]string{"backup": "daily"}},
		{Name: "shop", Type: "CloudFormation", Members: []string{"homes"}},
	}
	want.Placements = []server.Placement{{Name: "us-east-1a", Directory: "/srv/restore"}}
	if err := want.Check(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Decode: (-want +got)\n%s", diff)
	}
}

func TestConfigDecode_NamesLineAndKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":         {"region: us-east-1\nlisten_on: x\n", `line 2: unknown key "listen_on"`},
		"unknown nested key":  {"resources:\n- name: a\n  bucket: b\n", `line 3: unknown key "bucket"`},
		"repeated key":        {"region: a\nregion: b\n", "line 2: "},
		"wrong type":          {"region: us-east-1\nbackup_jobs: many\n", "line 2: "},
		"not yaml":            {"region: [\n", "line 1: "},
		"wrong type of level": {"log_level: loud\n", "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c2 := server.DefaultConfig()
			err := c2.Decode([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Decode(%q) = %v, want an error with %q", c.text, err, c.want)
			}
		})
	}
}

func TestConfigLoad_FlagsWin(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lockfast.yaml")
	if err := os.WriteFile(name, []byte("listen: 127.0.0.1:1\nregion: eu-west-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := server.DefaultConfig()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Flags(fs)
	if err := fs.Parse([]string{"--listen", "127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(name, fs); err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:2" || c.Region != "eu-west-1" {
		t.Errorf("Load = listen %s, region %s, want the flag's 127.0.0.1:2 and the file's eu-west-1", c.Listen, c.Region)
	}
}

func TestConfigFlags_EveryScalarHasOne(t *testing.T) {
	t.Parallel()
	c := server.DefaultConfig()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Flags(fs)
	typ := reflect.TypeFor[server.Config]()
	for i := range typ.NumField() {
		key := typ.Field(i).Tag.Get("yaml")
		if typ.Field(i).Type.Kind() == reflect.Slice {
			continue
		}
		if fs.Lookup(strings.ReplaceAll(key, "_", "-")) == nil {
			t.Errorf("setting %s has no flag", key)
		}
	}
}

func TestConfig_EverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	typ := reflect.TypeFor[server.Config]()
	for i := range typ.NumField() {
		if key := typ.Field(i).Tag.Get("yaml"); !strings.Contains(string(text), "\n| `"+key+"` |") {
			t.Errorf("docs/configuration.md has no line on %s", key)
		}
	}
}

// resources makes a change of the settings that declares resources.
func resources(list ...server.Resource) func(*server.Config) {
	return func(c *server.Config) { c.Resources = list }
}

func TestConfigCheck_NamesTheSetting(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*server.Config)
		want   string
	}{
		"account":       {func(c *server.Config) { c.Account = "7" }, "account: "},
		"region":        {func(c *server.Config) { c.Region = "here" }, "region: "},
		"metadata":      {func(c *server.Config) { c.Metadata = "mysql://root:secret@x" }, "metadata: "},
		"store":         {func(c *server.Config) { c.Store = "ftp://id:secret@host/p" }, "store: want a directory or s3://"},
		"bucket":        {func(c *server.Config) { c.Store = "s3://bucket?regoin=x" }, "store: \"regoin\""},
		"key in bucket": {func(c *server.Config) { c.Store = "s3://id:secret@bucket/p" }, "store: a location holds no credentials"},
		"beyond host":   {func(c *server.Config) { c.Listen = "0.0.0.0:1" }, "--insecure"},
		"every address": {func(c *server.Config) { c.Listen = ":1" }, "--insecure"},
		"half of TLS":   {func(c *server.Config) { c.TLSCert = "x" }, "tls_key"},
		"listen":        {func(c *server.Config) { c.Listen = "x" }, "listen: "},
		"jobs":          {func(c *server.Config) { c.BackupJobs = 0 }, "backup_jobs: "},
		"data packs":    {func(c *server.Config) { c.DataPacks = 3 }, "data_packs: "},
		"trail":         {func(c *server.Config) { c.TrailDays = -1 }, "trail_days: "},
		"type": {func(c *server.Config) { c.Resources = []server.Resource{{Name: "a", Type: "EBS", Path: "/x"}} },
			`resource "a": type "EBS"`},
		"group without a name": {resources(server.Resource{Type: "CloudFormation", Members: []string{"a"}}), `resources[0]: name "": a group needs`},
		"group with a path":    {resources(server.Resource{Name: "g", Type: "CloudFormation", Path: "/x"}), `resource "g": a group has no path`},
		"empty group":          {resources(server.Resource{Name: "g", Type: "CloudFormation"}), `resource "g": members are missing`},
		"members of a directory": {resources(server.Resource{Name: "a", Type: "EFS", Path: "/x", Members: []string{"b"}}),
			`resource "a": members are for type CloudFormation only`},
		"unknown member": {resources(server.Resource{Name: "g", Type: "CloudFormation", Members: []string{"a"}}),
			`resource "g": no resource has the name of its member "a"`},
		"ambiguous member": {resources(server.Resource{Name: "g", Type: "CloudFormation", Members: []string{"x"}},
			server.Resource{Type: "EFS", Path: "/x"}, server.Resource{Type: "EFS", Path: "/y/x"}),
			`resource "g": more than one resource has the name of its member "x"`},
		"member twice": {resources(server.Resource{Name: "g", Type: "CloudFormation", Members: []string{"x", "x"}},
			server.Resource{Type: "EFS", Path: "/x"}), `group "g" contains "x" twice`},
		"group in itself": {resources(server.Resource{Name: "g", Type: "CloudFormation", Members: []string{"h"}},
			server.Resource{Name: "h", Type: "CloudFormation", Members: []string{"g"}}), `group "g" contains itself: g > h > g`},
		"placement": {func(c *server.Config) { c.Placements = []server.Placement{{Name: "a", Directory: "x"}} },
			`placement "a": directory "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := server.DefaultConfig()
			c.change(&cfg)
			err := cfg.Check()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Check() = %v, want an error with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("Check() = %v shows a password", err)
			}
		})
	}
}

func TestOpen_OnAStoreThatIsEmpty(t *testing.T) {
	t.Parallel()
	o := options(t, t.TempDir())
	o.Config.Store = t.TempDir()
	start(t, o).vault("home")
}

func TestOpen_ForAnotherAccount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := start(t, options(t, dir))
	f.vault("home")
	f.stop()
	o := options(t, dir)
	o.Config.Account = "111111111111"
	f = start(t, o)
	vaults := must(f.sdk.ListBackupVaults(t.Context(), &backup.ListBackupVaultsInput{}))(f)
	if len(vaults.BackupVaultList) != 0 {
		t.Errorf("another account sees %v", vaults.BackupVaultList)
	}
}

func TestOpen_DeclaresResources(t *testing.T) {
	t.Parallel()
	dir, home := t.TempDir(), t.TempDir()
	count := func(o server.Options) int {
		f := start(t, o)
		defer f.stop()
		return len(own(f, lockfastapi.ListResources, &lockfastapi.ListResourcesInput{}).Resources)
	}
	o := options(t, dir)
	o.Config.Resources = []server.Resource{{Name: "home", Type: "EFS", Path: home, Tags: map[string]string{"a": "b"}}}
	if n := count(o); n != 1 {
		t.Errorf("a server that declares a resource lists %d", n)
	}
	private := options(t, dir)
	private.Private = true
	if n := count(private); n != 1 {
		t.Errorf("a private server without the file lists %d resources, want 1", n)
	}
	if n := count(options(t, dir)); n != 0 {
		t.Errorf("a server that does not declare it any more lists %d resources", n)
	}
}

func TestDataDirectory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		uid  int
		want string
	}{
		"told":     {map[string]string{"LOCKFAST_DATA": "/d", "HOME": "/h"}, 0, "/d"},
		"root":     {map[string]string{"XDG_DATA_HOME": "/x"}, 0, "/var/lib/lockfast"},
		"xdg":      {map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, 7, "/x/lockfast"},
		"homeonly": {map[string]string{"HOME": "/h"}, 7, "/h/.local/share/lockfast"},
	} {
		if got := server.DataDirectory(func(k string) string { return c.env[k] }, c.uid); got != c.want {
			t.Errorf("%s: DataDirectory = %s, want %s", name, got, c.want)
		}
	}
}

func TestLockDirectory_Twice(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	d, err := server.LockDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = server.LockDirectory(dir)
	if !errors.Is(err, server.ErrInUse) || !strings.Contains(err.Error(), "pid ") || !strings.Contains(err.Error(), dir) {
		t.Errorf("second LockDirectory = %v, want ErrInUse with the directory and a pid", err)
	}
	if err := d.Announce(server.Address{URL: "http://127.0.0.1:1", PID: 7}); err != nil {
		t.Fatal(err)
	}
	if a, err := server.ReadAddress(dir); err != nil || a.PID != 7 {
		t.Errorf("ReadAddress = %+v, %v", a, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = server.LockDirectory(dir)
	if err != nil {
		t.Fatalf("LockDirectory after Close = %v", err)
	}
	defer d.Close()
	if _, err := server.ReadAddress(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a new owner left the old server.json: %v", err)
	}
}

func TestCredentials_RoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := server.AccessKey{ID: "AKIAEXAMPLE", Secret: "s=e/c+r"}
	if err := server.WriteCredentials(dir, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(server.CredentialsFile(dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials file: %v, %v, want mode 0600", info.Mode(), err)
	}
	got, err := server.ReadCredentials(server.CredentialsFile(dir), "default")
	if err != nil || got != want {
		t.Errorf("ReadCredentials = %+v, %v", got, err)
	}
	if _, err := server.ReadCredentials(server.CredentialsFile(dir), "other"); err == nil {
		t.Error("ReadCredentials of an absent profile = nil")
	}
}

func TestAddCredentials_KeepsOtherProfiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := server.CredentialsFile(dir)
	first, second, third := server.AccessKey{ID: "A1", Secret: "s1"}, server.AccessKey{ID: "A2", Secret: "s2"}, server.AccessKey{ID: "A3", Secret: "s3"}
	mine := "# mine\n[mine]\naws_access_key_id = M\naws_secret_access_key = m" // no line end
	if err := os.WriteFile(file, []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		server.WriteCredentials(dir, first), server.AddCredentials(dir, "111111111111", second),
		server.AddCredentials(dir, "111111111111", third), server.WriteCredentials(dir, second),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for profile, want := range map[string]server.AccessKey{
		"mine": {ID: "M", Secret: "m"}, "111111111111": third, "default": second,
	} {
		if got, err := server.ReadCredentials(file, profile); err != nil || got != want {
			t.Errorf("ReadCredentials(%s) = %v, %v, want %v", profile, got, err, want)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "[") != 3 || !strings.HasPrefix(string(text), "# mine\n") {
		t.Errorf("file = %q, %v, want three profiles and the remark", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials file: %v, want mode 0600", err)
	}
}

func FuzzConfigDecode(f *testing.F) {
	f.Add([]byte("account: \"000000000000\"\nresources:\n- {name: homes, type: EFS, path: /srv, tags: {a: b}}\n"))
	f.Add([]byte("a: &a [1]\nb: *a\n<<: {x: 1}\n"))
	f.Add([]byte("log_level: info\nreclaim_delay: 1m\nreclaim_threshold: .nan\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := server.DefaultConfig()
		if err := c.Decode(data); err == nil {
			_ = c.Check()
		}
	})
}
