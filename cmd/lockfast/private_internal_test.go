package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/internal/server"
)

// cli runs commands on a data directory, each with a private server.
type cli struct {
	*testing.T
	data string
}

func newCLI(t *testing.T) *cli {
	t.Setenv("AWS_ENDPOINT_URL", "")
	return &cli{t, filepath.Join(t.TempDir(), "data")}
}

// do runs a command that must end with a code.
func (c *cli) do(want int, args ...string) (stdout, stderr string) {
	c.Helper()
	code, stdout, stderr := lockfast(c.T, append(args, "--data", c.data)...)
	if code != want {
		c.Fatalf("lockfast %s = %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return strings.TrimSpace(stdout), stderr
}

// lines runs a command with --json and returns the objects of one type.
func (c *cli) lines(want int, typ string, args ...string) (lines []map[string]any) {
	c.Helper()
	stdout, _ := c.do(want, append(args, "--json")...)
	for line := range strings.Lines(stdout) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			c.Fatalf("lockfast %s printed %q: %v", strings.Join(args, " "), line, err)
		}
		if v["type"] == typ {
			lines = append(lines, v)
		}
	}
	return lines
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestStory is the whole life of a recovery point on the command line.
func TestStory(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1", "dir/two": strings.Repeat("2", 600)})
	first, _ := c.do(exitDone, "backup", home)
	write(t, home, map[string]string{"one": "one", "three": "3"})
	result := c.lines(exitDone, "result", "backup", home)
	second, _ := result[0]["recovery_point_arn"].(string)
	if result[0]["skipped"] != 0.0 || result[0]["resource_arn"] == "" || result[0]["bytes_read"] == nil || result[0]["bytes_stored"] == nil {
		t.Errorf("result of backup = %v", result[0])
	}

	list := c.lines(exitDone, "result", "list", "--vault", "Default")
	if len(list) != 2 || list[0]["status"] != "COMPLETED" || list[0]["logical_bytes"] == nil || list[0]["status_message"] != "" {
		t.Errorf("list = %v", list)
	}
	if out, _ := c.do(exitDone, "ls", "-R", first); !strings.Contains(out, "dir/two") || !strings.Contains(out, " 600 ") {
		t.Errorf("ls = %s", out)
	}
	if out, _ := c.do(exitDone, "cat", second, "one"); out != "one" {
		t.Errorf("cat = %q", out)
	}
	if out, _ := c.do(exitDone, "diff", first, second); !strings.Contains(out, "M one") || !strings.Contains(out, "+ three") {
		t.Errorf("diff = %q", out)
	}
	to := filepath.Join(t.TempDir(), "restored")
	c.do(exitDone, "restore", first, "--to", to)
	if got := read(t, to, "one"); got != "1" {
		t.Errorf("restored file = %q", got)
	}
	_, stderr := c.do(exitFailed, "restore", first, "--to", to)
	if !strings.Contains(stderr, "not empty") {
		t.Errorf("restore into a directory that is not empty says %q", stderr)
	}
	some := filepath.Join(t.TempDir(), "some")
	if _, stderr := c.do(exitSkipped, "restore", first, "--to", some, "--item", "dir/two", "--item", "absent"); !strings.Contains(stderr, "absent") {
		t.Errorf("restore of an absent item says %q", stderr)
	}
	if _, err := os.Stat(filepath.Join(some, "one")); err == nil || read(t, some, "dir", "two") == "" {
		t.Error("restore of one item restored another")
	}
	c.afterwards(first, second)
}

// preview asks what deletions would free: that of both recovery points everything, as neither needs the other.
func (c *cli) preview(first, second string) {
	c.Helper()
	lines := c.lines(exitDone, "result", "delete", "--dry-run", first, second)
	listed := c.lines(exitDone, "result", "list")
	if len(lines) != 3 || len(listed) != 2 {
		c.Fatalf("delete --dry-run of two recovery points = %v", lines)
	}
	unique, stored := 0.0, 0.0
	for i, line := range lines[:2] {
		if line["deleted"] != false || line["dry_run"] != true || line["refusal"] != nil || line["unique_bytes"] == nil {
			c.Errorf("delete --dry-run = %v", line)
		}
		unique += line["unique_bytes"].(float64)
		stored += listed[i]["stored_bytes"].(float64)
	}
	sum := lines[2]
	freed, _ := sum["freed_bytes"].(float64)
	if sum["vault"] != "Default" || sum["recovery_points"] != 2.0 || sum["shared_bytes"] != 0.0 || freed < unique || freed > stored || freed == 0 {
		c.Errorf("delete --dry-run sums up %v, want between %v and %v to be freed", sum, unique, stored)
	}
	if out, _ := c.do(exitDone, "delete", "--dry-run", second); !strings.Contains(out, "would delete "+second) ||
		!strings.Contains(out, "Default: deleting 1 recovery points frees ") {
		c.Errorf("delete --dry-run = %q", out)
	}
	if out, stderr := c.do(exitFailed, "vault", "stats", "nowhere"); out != "" || !strings.Contains(stderr, "nowhere does not exist") {
		c.Errorf("stats of a vault that does not exist = %q, %q", out, stderr)
	}
	if out, _ := c.do(exitDone, "vault", "stats"); !strings.Contains(out, "VAULT") || !strings.Contains(out, "Default  2 ") {
		c.Errorf("vault stats = %q", out)
	}
}

// afterwards deletes one of two recovery points and looks after the vault.
func (c *cli) afterwards(first, second string) {
	c.Helper()
	c.preview(first, second)
	if n := len(c.lines(exitDone, "result", "list")); n != 2 {
		c.Errorf("after delete --dry-run there are %d recovery points", n)
	}
	c.do(exitDone, "delete", second)
	c.events(first, second)
	_, stderr := c.do(exitFailed, "delete", second)
	if !strings.Contains(stderr, second) || !strings.Contains(stderr, "lockfast list") {
		c.Errorf("delete of what is gone says %q", stderr)
	}
	if _, stderr := c.do(exitFailed, "delete", second, "--vault", "Default"); !strings.Contains(stderr, "in vault Default") {
		c.Errorf("delete of what is not in the vault says %q", stderr)
	}
	reclaimed := c.lines(exitDone, "result", "vault", "reclaim", "Default")
	if report, _ := reclaimed[0]["report"].(map[string]any); report["bytes_freed"] == nil {
		c.Errorf("vault reclaim = %v", reclaimed)
	}
	c.do(exitDone, "vault", "verify")
	if stats := c.lines(exitDone, "result", "vault", "stats"); len(stats) != 1 || stats[0]["recovery_points"] != 1.0 ||
		stats[0]["dead_bytes"] != 0.0 || stats[0]["dead_part_bytes"] != 0.0 || stats[0]["locked_bytes"] != 0.0 || stats[0]["measured_at"] == nil {
		c.Errorf("vault stats = %v", stats)
	}
	if out, _ := c.do(exitDone, "vault", "list"); !strings.Contains(out, "Default") {
		c.Errorf("vault list = %s", out)
	}
	c.withoutServer(first)
}

// events expects what was told of two recovery points, of which the second one was deleted.
func (c *cli) events(first, second string) {
	c.Helper()
	told := map[string]string{}
	for _, e := range c.lines(exitDone, "result", "events", "--vault", "Default", "--type", "Recovery Point State Change") {
		point, _ := e["recovery_point_arn"].(string)
		told[point] = fmt.Sprint(e["status"], " ", told[point])
		if event, _ := e["event"].(map[string]any); event["source"] != "aws.backup" {
			c.Errorf("event = %v", e)
		}
	}
	want := map[string]string{first: "CREATING COMPLETED ", second: "CREATING COMPLETED DELETING DELETED "}
	if diff := cmp.Diff(want, told); diff != "" {
		c.Errorf("events (-want +got):\n%s", diff)
	}
	if out, _ := c.do(exitDone, "events", "--recovery-point", second); !strings.Contains(out, "DELETING") || strings.Contains(out, first) {
		c.Errorf("events of one recovery point = %s", out)
	}
	c.do(exitUsage, "events", "--recovery-point", "nonsense")
}

// withoutServer reads the store alone.
func (c *cli) withoutServer(arn string) {
	c.Helper()
	store, key := filepath.Join(c.data, "store"), filepath.Join(c.data, "root.key")
	list := c.lines(exitDone, "result", "store", "list", store, "--key", key)
	if len(list) != 1 || list[0]["recovery_point_arn"] != arn {
		c.Fatalf("store list = %v", list)
	}
	vault, _ := list[0]["vault"].(string)
	c.do(exitDone, "store", "verify", filepath.Join(store, vault), "--key", key)
	to := filepath.Join(c.TempDir(), "restored")
	c.do(exitDone, "store", "restore", store, arn, "--to", to, "--key", key)
	if got := read(c.T, to, "one"); got != "1" {
		c.Errorf("file restored from the store = %q", got)
	}
	if _, stderr := c.do(exitFailed, "store", "list", c.TempDir(), "--key", key); !strings.Contains(stderr, "no vault") {
		c.Errorf("store list of an empty directory says %q", stderr)
	}
}

func TestBackup_SeveralPathsOfWhichOneIsBad(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1"})
	results := c.lines(exitFailed, "result", "backup", filepath.Join(home, "absent"), home)
	if len(results) != 1 || results[0]["path"] != home {
		t.Errorf("results = %v, want one for %s", results, home)
	}
	errors := c.lines(exitFailed, "error", "backup", filepath.Join(home, "absent"), home)
	if len(errors) != 1 || !strings.Contains(errors[0]["message"].(string), "absent") {
		t.Errorf("errors = %v", errors)
	}
}

// Private commands leave it to the next that shows sizes to compute them.
func TestList_HasSizesAfterPrivateCommands(t *testing.T) {
	c := newCLI(t)
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	write(t, one, map[string]string{"one": strings.Repeat("1", 5000)})
	write(t, two, map[string]string{"two": "2"})
	c.lines(exitDone, "result", "backup", one, two)
	listed := c.lines(exitDone, "result", "list")
	if len(listed) != 2 {
		t.Fatalf("list = %v", listed)
	}
	for _, p := range listed {
		if p["logical_bytes"] == nil || p["stored_bytes"] == nil || p["unique_bytes"] == nil || p["unique_part_bytes"] == nil {
			t.Errorf("list = %v, want all sizes", p)
		}
	}
	same := filepath.Join(t.TempDir(), "same")
	write(t, same, map[string]string{"one": strings.Repeat("1", 5000)})
	c.lines(exitDone, "result", "backup", same)
	unique := func() (bytes []float64) {
		for _, p := range c.lines(exitDone, "result", "list") {
			if p["resource_name"] != "two" {
				bytes = append(bytes, p["unique_bytes"].(float64))
			}
		}
		return bytes
	}
	both := unique()
	c.do(exitDone, "delete", c.lines(exitDone, "result", "list")[0]["recovery_point_arn"].(string))
	if one := unique(); len(both) != 2 || len(one) != 1 || one[0] <= both[1] {
		t.Errorf("alone %v bytes, beside a recovery point of the same data %v; want more alone", one, both)
	}
}

func TestCopy(t *testing.T) {
	c := newCLI(t)
	home := filepath.Join(t.TempDir(), "home")
	write(t, home, map[string]string{"one": "1", "two": strings.Repeat("2", 600)})
	source, _ := c.do(exitDone, "backup", home)
	result := c.lines(exitDone, "result", "copy", source, "--to", "offsite", "--keep-days", "30")
	if len(result) != 1 || result[0]["source_recovery_point_arn"] != source || result[0]["vault"] != "offsite" || result[0]["bytes"] != 601.0 ||
		result[0]["items"] != 3.0 || result[0]["bytes_stored"] == nil || result[0]["copy_job_id"] == "" {
		t.Errorf("result of copy = %v", result)
	}
	again, stderr := c.do(exitDone, "copy", source, "--to", "arn:aws:backup:us-east-1:000000000000:backup-vault:offsite")
	if !strings.HasPrefix(again, "arn:aws:backup:us-east-1:000000000000:recovery-point:") || !strings.Contains(stderr, "offsite: 3 items") {
		t.Errorf("copy = %q, %q", again, stderr)
	}
	if _, stderr := c.do(exitFailed, "copy", source, "--to", "Default"); !strings.Contains(stderr, "same backup vault") {
		t.Errorf("copy into the vault of the source says %q", stderr)
	}
	c.do(exitDone, "delete", source)
	to := filepath.Join(t.TempDir(), "restored")
	c.do(exitDone, "restore", again, "--to", to)
	if got := read(t, to, "one"); got != "1" {
		t.Errorf("restored file = %q", got)
	}
}

func TestResourceCommands(t *testing.T) {
	c := newCLI(t)
	dir := t.TempDir()
	arn, _ := c.do(exitDone, "resource", "add", "--type", "EFS", "--path", dir, "--name", "homes", "--tag", "a=b", "--tag", "c=d=e")
	list := c.lines(exitDone, "result", "resource", "list")
	if len(list) != 1 || list[0]["resource_arn"] != arn || list[0]["name"] != "homes" {
		t.Errorf("resource list = %v", list)
	}
	if tags, _ := list[0]["tags"].(map[string]any); tags["a"] != "b" || tags["c"] != "d=e" {
		t.Errorf("tags = %v", list[0]["tags"])
	}
	c.do(exitDone, "resource", "test", arn)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, stderr := c.do(exitFailed, "resource", "test", arn); !strings.Contains(stderr, dir) {
		t.Errorf("test of a directory that vanished says %q", stderr)
	}
	c.do(exitDone, "resource", "remove", arn)
	if list := c.lines(exitDone, "result", "resource", "list"); len(list) != 0 {
		t.Errorf("resource list after remove = %v", list)
	}
}

// TestConnect_ToTheServerOfTheDirectory finds the server that runs on the data directory, and refuses nobody while it
// starts or ends.
func TestConnect_ToTheServerOfTheDirectory(t *testing.T) {
	c := newCLI(t)
	a := &app{out: &output{stdout: t.Output(), stderr: t.Output()}}
	root := newRoot(a)
	root.SetContext(t.Context())
	a.config.Data = c.data
	private, err := a.startPrivate(root)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := server.ReadAddress(c.data)
	if u, _ := url.Parse(addr.URL); err != nil || u == nil || private.rest.URL != addr.URL {
		t.Fatalf("server.json = %+v, %v, want %s", addr, err, private.rest.URL)
	}
	c.do(exitDone, "list") // by that server: it has the lock
	done := make(chan error, 1)
	go func() { done <- private.stop() }()
	c.do(exitDone, "list") // by that server or, when it has ended, by another one
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConfig_UnknownKey(t *testing.T) {
	c := newCLI(t)
	file := filepath.Join(t.TempDir(), "lockfast.yaml")
	write(t, filepath.Dir(file), map[string]string{"lockfast.yaml": "region: us-east-1\nbucket: x\n"})
	for _, command := range []string{"serve", "list"} {
		_, stderr := c.do(exitFailed, command, "--config", file)
		for _, want := range []string{file, "line 2", `unknown key "bucket"`} {
			if !strings.Contains(stderr, want) {
				t.Errorf("lockfast %s says %q, want %q in it", command, stderr, want)
			}
		}
	}
}

// firstLine hands on the first line that is written to it.
type firstLine chan string

func (l firstLine) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestServe(t *testing.T) {
	c := newCLI(t)
	ctx, cancel := context.WithCancel(t.Context())
	line, code := make(firstLine, 1), make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve", "--data", c.data, "--listen", "127.0.0.1:0"}, line, t.Output())
	}()
	got := <-line
	if !strings.HasPrefix(got, "lockfast: serving on http://127.0.0.1:") {
		t.Fatalf("serve prints %q", got)
	}
	base := strings.TrimSpace(strings.TrimPrefix(got, "lockfast: serving on "))
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("GET %s = %s", path, resp.Status)
		}
	}
	home := t.TempDir()
	c.do(exitDone, "backup", home, "--server", base)
	if _, stderr := c.do(exitFailed, "serve", "--listen", "127.0.0.1:0"); !strings.Contains(stderr, "pid") || !strings.Contains(stderr, c.data) {
		t.Errorf("a second server says %q", stderr)
	}
	cancel()
	if got := <-code; got != exitDone {
		t.Errorf("serve ended with %d, want %d", got, exitDone)
	}
	c.do(exitDone, "list")
}

func TestBackup_Interrupted(t *testing.T) {
	c := newCLI(t)
	c.do(exitDone, "backup", t.TempDir())
	home := t.TempDir()
	file, err := os.Create(filepath.Join(home, "big"))
	if err != nil {
		t.Fatal(err)
	}
	rng, block := rand.NewChaCha8([32]byte{}), make([]byte, 1<<20)
	for range 768 { // enough to be at work for seconds
		_, _ = rng.Read(block)
		if _, err := file.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	packs := func() int {
		names, _ := filepath.Glob(filepath.Join(c.data, "store", "*", "d", "*", "*"))
		return len(names)
	}
	before := packs()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"backup", home, "--data", c.data}, t.Output(), t.Output()) }()
	for packs() == before { // until it has stored its first pack
		select {
		case got := <-code:
			t.Fatalf("backup ended with %d before it stored anything", got)
		default:
			runtime.Gosched()
		}
	}
	cancel()
	if got := <-code; got != exitFailed {
		t.Errorf("interrupted backup ended with %d, want %d", got, exitFailed)
	}
	if list := c.lines(exitDone, "result", "list"); len(list) != 1 {
		t.Errorf("an interrupted backup left %v", list)
	}
}

func TestResourceCommands_Group(t *testing.T) {
	c := newCLI(t)
	web, _ := c.do(exitDone, "resource", "add", "--path", t.TempDir(), "--name", "web")
	c.do(exitDone, "resource", "add", "--path", t.TempDir(), "--name", "crm")
	shop, _ := c.do(exitDone, "resource", "add", "--type", "CloudFormation", "--name", "shop", "--member", "web", "--member", "crm")
	if !strings.HasPrefix(shop, "arn:aws:cloudformation:us-east-1:000000000000:stack/shop/") {
		t.Errorf("resource add printed %q", shop)
	}
	list := c.lines(exitDone, "result", "resource", "list")
	if members, _ := list[0]["members"].([]any); len(list) != 3 || len(members) != 2 || members[0] != "web" || members[1] != "crm" {
		t.Errorf("resource list = %v", list)
	}
	if out, _ := c.do(exitDone, "resource", "list"); !strings.Contains(out, "web,crm") {
		t.Errorf("resource list = %s", out)
	}
	c.do(exitDone, "resource", "test", shop)
	if _, stderr := c.do(exitFailed, "resource", "remove", web); !strings.Contains(stderr, `"shop"`) {
		t.Errorf("removal of a member says %q", stderr)
	}
}
