package crashfs_test

import (
	"errors"
	iofs "io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
)

// write makes a file with two pieces of bytes, the first of them synced.
func write(t *testing.T, d *crashfs.Disk, path string) {
	t.Helper()
	w, err := d.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := w.Write([]byte("safe"))
	err2 := w.Sync()
	_, err3 := w.Write([]byte("risk"))
	if err := errors.Join(err1, err2, err3, w.Close()); err != nil {
		t.Fatal(err)
	}
}

// contents returns the files of a directory.
func contents(t *testing.T, d *crashfs.Disk, dir string) map[string]string {
	t.Helper()
	entries, err := d.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		if e.Kind == fs.Directory {
			got[e.Name] = "directory"
			continue
		}
		r, err := d.Open(dir + "/" + e.Name)
		if dir == "." {
			r, err = d.Open(e.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, r.Size())
		if n, _ := r.ReadAt(data, 0); int64(n) != e.Size {
			t.Errorf("%s has %d bytes, its entry says %d", e.Name, n, e.Size)
		}
		got[e.Name] = string(data)
	}
	return got
}

func TestState_UnsyncedDataByVariant(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	write(t, d, "a")
	if err := d.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[crashfs.Data]string{
		crashfs.DropData: "safe", crashfs.KeepData: "saferisk", crashfs.TearData: "saferi",
		crashfs.ZeroData: "safe\x00\x00\x00\x00",
	} {
		got := contents(t, d.State(d.Len(), crashfs.Variant{Data: data}), ".")
		if diff := cmp.Diff(map[string]string{"a": want}, got); diff != "" {
			t.Errorf("variant %d (-want +got):\n%s", data, diff)
		}
	}
}

func TestState_UnsyncedNamesByVariant(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	write(t, d, "old")
	err1 := d.SyncDir(".")
	err2 := d.Mkdir("dir")
	err3 := d.Link("old", "dir/new")
	err4 := d.SyncDir("dir")
	err5 := d.Remove("old")
	err6 := d.Link("dir/new", "other")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	for names, want := range map[crashfs.Names]map[string]string{
		crashfs.DropNames: {"old": "safe"}, // and dir/new is lost with dir, though dir was synced
		crashfs.KeepNames: {"dir": "directory", "other": "safe"},
		crashfs.LastNames: {"old": "safe", "other": "safe"},
	} {
		got := contents(t, d.State(d.Len(), crashfs.Variant{Names: names}), ".")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("variant %d (-want +got):\n%s", names, diff)
		}
	}
	subsets := map[int]bool{}
	for seed := range uint64(200) {
		after := d.State(d.Len(), crashfs.Variant{Names: crashfs.RandomNames, Seed: seed})
		got := contents(t, after, ".")
		_, dir := got["dir"]
		_, old := got["old"]
		_, other := got["other"]
		subset := 0
		for i, in := range []bool{dir, old, other} {
			if in {
				subset |= 1 << i
			}
		}
		subsets[subset] = true
	}
	if len(subsets) != 8 {
		t.Errorf("200 random cuts gave %d of the 8 subsets of three changes", len(subsets))
	}
}

func TestState_OfAnEarlierStep(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	write(t, d, "a") // create, write, sync, write
	keep := crashfs.Variant{Data: crashfs.KeepData, Names: crashfs.KeepNames}
	for step, want := range []map[string]string{{}, {"a": ""}, {"a": "safe"}, {"a": "safe"}, {"a": "saferisk"}} {
		if diff := cmp.Diff(want, contents(t, d.State(step, keep), ".")); diff != "" {
			t.Errorf("after %d steps (-want +got):\n%s", step, diff)
		}
	}
	after := d.State(2, keep)
	write(t, after, "b")
	if diff := cmp.Diff(map[string]string{"a": "saferisk"}, contents(t, d, ".")); diff != "" {
		t.Errorf("writing to a state changed its origin (-want +got):\n%s", diff)
	}
	if got, want := d.Step(2), "2: sync a"; got != want {
		t.Errorf("Step(2) = %q, want %q", got, want)
	}
}

func TestKill_LosesNothingAndKeepsItVolatile(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	write(t, d, "a")
	if _, err := d.Lock("."); err != nil {
		t.Fatal(err)
	}
	killed := d.Kill(d.Len())
	if diff := cmp.Diff(map[string]string{"a": "saferisk"}, contents(t, killed, ".")); diff != "" {
		t.Errorf("after Kill (-want +got):\n%s", diff)
	}
	if _, err := killed.Lock("."); err != nil {
		t.Errorf("Lock after Kill = %v, want nil", err)
	}
	cut := killed.State(killed.Len(), crashfs.Variant{})
	if diff := cmp.Diff(map[string]string{}, contents(t, cut, ".")); diff != "" {
		t.Errorf("after Kill and a cut (-want +got):\n%s", diff)
	}
	if err := killed.SyncAll(); err != nil {
		t.Fatal(err)
	}
	cut = killed.State(killed.Len(), crashfs.Variant{})
	if diff := cmp.Diff(map[string]string{"a": "saferisk"}, contents(t, cut, ".")); diff != "" {
		t.Errorf("after Kill, SyncAll and a cut (-want +got):\n%s", diff)
	}
}

func TestFail_SyncIsFinal(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	broken := errors.New("broken")
	w, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("risk")); err != nil {
		t.Fatal(err)
	}
	d.Fail(func(op, path string) error {
		if op == "sync" && path == "a" {
			return broken
		}
		return nil
	})
	if err := w.Sync(); !errors.Is(err, broken) {
		t.Errorf("Sync() = %v, want the fault", err)
	}
	d.Fail(nil)
	if err := errors.Join(w.Sync(), d.SyncAll()); err != nil {
		t.Fatal(err)
	}
	got := contents(t, d.State(d.Len(), crashfs.Variant{Data: crashfs.KeepData}), ".")
	if diff := cmp.Diff(map[string]string{"a": ""}, got); diff != "" {
		t.Errorf("a second Sync saved what the first lost (-want +got):\n%s", diff)
	}
}

func TestErrors_AreThoseOfPackageOS(t *testing.T) {
	t.Parallel()
	d := crashfs.New()
	write(t, d, "a")
	_, again := d.Create("a")
	_, absent := d.Open("b")
	for what, c := range map[string][2]error{
		"Create": {again, iofs.ErrExist}, "Open": {absent, iofs.ErrNotExist}, "Mkdir": {d.Mkdir("a"), iofs.ErrExist},
		"Link": {d.Link("a", "a"), iofs.ErrExist}, "Link to": {d.Link("a", "x/y"), iofs.ErrNotExist},
		"Remove": {d.Remove("b"), iofs.ErrNotExist}, "SyncDir": {d.SyncDir("b"), iofs.ErrNotExist},
	} {
		if !errors.Is(c[0], c[1]) {
			t.Errorf("%s = %v, want %v", what, c[0], c[1])
		}
	}
}
