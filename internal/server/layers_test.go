package server_test

import (
	"encoding/json"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/lockfast/lockfast/"

// layers is the table of docs/architecture.md: a package imports only from lower rows. Packages that only serve tests or the
// build are not in it.
var layers = []struct {
	row   int
	names string
}{
	{90, "cmd/lockfast"},
	{80, "internal/server"},
	{70, "internal/run internal/sched"},
	{60, "internal/vault internal/job internal/protected internal/tag internal/setting internal/registry internal/browse " +
		"internal/task internal/kms internal/plan"},
	{50, "internal/iam internal/events internal/keys internal/ledger internal/trail"},
	{40, "internal/restjson internal/query internal/json11"},
	{35, "internal/operation"},
	{31, "internal/backupapi internal/iamapi internal/stsapi internal/kmsapi internal/taggingapi internal/lockfastapi internal/sigv4"},
	{30, "internal/caller"},
	{22, "resource/directory"},
	{21, "resource"},
	{20, "internal/wire internal/meta internal/policy"},
	{19, "repo/localledger"},
	{18, "repo"},
	{16, "repo/tree"},
	{15, "repo/index repo/refset"},
	{14, "repo/pack"},
	{13, "repo/seal"},
	{12, "repo/parity"},
	{11, "repo/chunk repo/field"},
	{6, "blob/fault"},
	{5, "blob/fs blob/mem blob/retry blob/s3"},
	{1, "blob arn cron"},
}

// offside are packages that only tests and the build use; nothing else may import them.
var offside = []string{"internal/gen", "internal/meta/metatest", "blob/blobtest", "blob/fs/crashfs",
	"blob/s3/s3test", "repo/ledgertest", "repo/protocolcheck", "repo/vector", "resource/resourcetest", "bench", "e2e", "tools/reader"}

func rowOf(name string) int {
	for _, l := range layers {
		for n := range strings.FieldsSeq(l.names) {
			if n == name {
				return l.row
			}
		}
	}
	return 0
}

func isOffside(name string) bool {
	for _, o := range offside {
		if name == o || strings.HasPrefix(name, o+"/") {
			return true
		}
	}
	return false
}

// TestLayers checks that imports point downwards, and that every name in the tables is one of a package or, for those that are
// offside, of what is above some.
func TestLayers(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		for up := name; up != "."; up = path.Dir(up) {
			found[up] = found[up] || up == name || isOffside(name)
		}
		if isOffside(name) {
			continue
		}
		row := rowOf(name)
		if row == 0 {
			t.Errorf("package %s is not in the table of layers", name)
		}
		for _, imported := range p.Imports {
			other, ours := strings.CutPrefix(imported, module)
			if ours && (isOffside(other) || rowOf(other) >= row) {
				t.Errorf("%s imports %s, which is not below it", name, other)
			}
		}
	}
	for _, l := range layers {
		for name := range strings.FieldsSeq(l.names) {
			if !found[name] {
				t.Errorf("package %s of the table of layers does not exist", name)
			}
		}
	}
	for _, name := range offside {
		if !found[name] {
			t.Errorf("there is no package %s that is offside", name)
		}
	}
}
