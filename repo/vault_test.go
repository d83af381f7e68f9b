package repo_test

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

func TestBackup_RestoresEveryVersion(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	g := newGenerator(1)
	var points []repo.PointID
	versions := []files{g.files(300)}
	points = append(points, mustBackup(t, v, "", versions[0], nil))
	for range 4 {
		last := versions[len(versions)-1]
		versions = append(versions, g.change(last))
		points = append(points, mustBackup(t, v, points[len(points)-1], versions[len(versions)-1], last))
	}
	for i, id := range points {
		if err := verify(t.Context(), v, id, versions[i]); err != nil {
			t.Error(err)
		}
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
}

func TestBackup_ReopenedVault(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(2).files(50)
	id := mustBackup(t, v, "", have, nil)
	v.Close()
	again, err := repo.Open(t.Context(), s, l, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := verify(t.Context(), again, id, have); err != nil {
		t.Error(err)
	}
	plain, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ids, err := plain.PointIDs(t.Context())
	if diff := cmp.Diff([]repo.PointID{id}, ids); diff != "" || err != nil {
		t.Errorf("PointIDs without a ledger: %v (-want +got):\n%s", err, diff)
	}
	if err := verify(t.Context(), plain, id, have); err != nil {
		t.Error(err)
	}
	if err := sound(t.Context(), plain); err != nil {
		t.Error(err)
	}
	if _, err := plain.NewWriter(t.Context(), repo.WriterOptions{}); !errors.Is(err, repo.ErrReadOnly) {
		t.Errorf("NewWriter without a ledger = %v, want ErrReadOnly", err)
	}
}

func TestManifest_KeepsFacts(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Job: "job-1"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Small(t.Context(), make([]byte, 1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tree().Put(t.Context(), repo.Entry{Key: []byte("a"), Content: c, Refs: c.Extents}); err != nil {
		t.Fatal(err)
	}
	facts := repo.Facts{
		Created: time.Unix(5, 7).UTC(), Resource: "res", Driver: "directory", Metadata: map[string]string{"b": "2", "a": "1"},
		Skipped: []repo.Skip{{Path: []byte("x\xff"), Reason: "permission denied"}}, SkippedMore: 3,
	}
	id, err := w.Commit(t.Context(), facts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if diff := cmp.Diff(facts, p.Facts()); diff != "" {
		t.Errorf("Facts (-want +got):\n%s", diff)
	}
	if s := p.Stats(); s.Entries != 1 || s.LogicalBytes != 1000 || s.BytesRead != 1000 || s.BytesStored <= 0 {
		t.Errorf("Stats = %+v, want 1 entry of 1000 bytes", s)
	}
}

func TestUnchangedBackup_WritesNoPacks(t *testing.T) {
	t.Parallel()
	v, s, _ := newVault(t)
	have := newGenerator(3).files(2000)
	first := mustBackup(t, v, "", have, nil)
	before := names(t, s)
	second := mustBackup(t, v, first, have, have)
	after := names(t, s)
	for _, kind := range []string{"d", "m", "x"} {
		if diff := cmp.Diff(before[kind], after[kind]); diff != "" {
			t.Errorf("objects under %s/ (-before +after):\n%s", kind, diff)
		}
	}
	if err := verify(t.Context(), v, second, have); err != nil {
		t.Error(err)
	}
}

func TestEqualFiles_AreStoredOnceAcrossResourcesAndVersions(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	data := randomBytes(100_000)
	big := randomBytes(1_000_000)
	mustBackup(t, v, "", files{"a": data, "b": data, "big": big}, nil)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture(t.Context(), w, files{"other": data, "x\x00big": big, "new": randomBytes(600)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context(), repo.Facts{}); err != nil {
		t.Fatal(err)
	}
	if got := w.Stats().BytesNew; got != 600 {
		t.Errorf("bytes stored anew = %d, want 600", got)
	}
}

func TestReader_AtAnyOffset(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	g := newGenerator(4)
	data := g.data(900_000)
	clear(data[100_000:300_000])
	id := mustBackup(t, v, "", files{"big": data, "in": []byte("inline")}, nil)
	p, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e, err := p.Lookup(t.Context(), []byte("big"))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Reader(t.Context(), e.Content)
	for range 100 {
		off := g.IntN(len(data))
		n := g.IntN(60_000)
		buf := make([]byte, n)
		got, err := r.ReadAt(buf, int64(off))
		want := data[off:min(off+n, len(data))]
		if got != len(want) || err != nil && err != io.EOF || string(buf[:got]) != string(want) {
			t.Fatalf("ReadAt(%d bytes, %d) = %d, %v, want %d bytes", n, off, got, err, len(want))
		}
	}
	if _, err := p.Lookup(t.Context(), []byte("nothing")); !errors.Is(err, repo.ErrNotFound) {
		t.Errorf("Lookup of an unknown key = %v, want ErrNotFound", err)
	}
}

func TestDiff_NamesChanges(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	old := files{"a": []byte("1"), "b": []byte("2"), "c": []byte("3")}
	first := mustBackup(t, v, "", old, nil)
	second := mustBackup(t, v, first, files{"a": []byte("1"), "b": []byte("4"), "d": []byte("5")}, old)
	p, err := v.OpenPoint(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	q, err := v.OpenPoint(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var got []string
	for c, err := range q.Diff(t.Context(), p) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Before == nil:
			got = append(got, "+"+string(c.After.Key))
		case c.After == nil:
			got = append(got, "-"+string(c.Before.Key))
		default:
			got = append(got, "~"+string(c.After.Key))
		}
	}
	if diff := cmp.Diff([]string{"~b", "-c", "+d"}, got); diff != "" {
		t.Errorf("Diff (-want +got):\n%s", diff)
	}
}

func TestTree_RefusesKeysOutOfOrder(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if err := w.Tree().Put(t.Context(), repo.Entry{Key: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Tree().Put(t.Context(), repo.Entry{Key: []byte("a")}); !errors.Is(err, repo.ErrOutOfOrder) {
		t.Errorf("Put of a lower key = %v, want ErrOutOfOrder", err)
	}
}

func TestWriter_ThatWasFencedCannotCommit(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Job: "j"})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture(t.Context(), w, newGenerator(31).files(50), nil); err != nil {
		t.Fatal(err)
	}
	second, err := v.NewWriter(t.Context(), repo.WriterOptions{Job: "j"}) // a restarted worker
	if err != nil {
		t.Fatal(err)
	}
	defer second.Abort(t.Context())
	if _, err := w.Commit(t.Context(), repo.Facts{}); !errors.Is(err, repo.ErrFenced) {
		t.Errorf("Commit of a fenced writer = %v, want ErrFenced", err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if err := second.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	mustReclaim(t, v)
	for kind, left := range names(t, s) {
		if len(kind) == 1 && kind != "k" && kind != "c" {
			t.Errorf("%v is left of aborted writers", left)
		}
	}
	if snapshot, err := l.Snapshot(t.Context()); err != nil || len(snapshot.Points) != 0 {
		t.Errorf("Snapshot = %+v, %v, want no points", snapshot, err)
	}
}

// TestWriter_TwoDataPacks: with the option, contents are spread over two packs that fill side by side.
func TestWriter_TwoDataPacks(t *testing.T) {
	t.Parallel()
	for n, full := range map[int]int{1: 1, 2: 2} {
		s, o := mem.New(), small()
		o.Options.DataPacks = n
		v := create(t, s, localledger.New(localledger.Options{}), o)
		have := files{"few": randomBytes(400_000)} // of a pack of 512 KiB
		id := mustBackup(t, v, "", have, nil)
		var sizes []int64
		for _, name := range names(t, s)["d"] {
			info, err := s.Stat(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, info.Size)
		}
		if len(sizes) != full || slices.Min(sizes) < 80_000 {
			t.Errorf("with %d open packs, data packs of %v bytes, want %d with a fair share each", n, sizes, full)
		}
		have["more"] = randomBytes(3_000_000) // packs become full, and wait for each other
		if err := verify(t.Context(), v, id, files{"few": have["few"]}); err != nil {
			t.Error(err)
		}
		if err := verify(t.Context(), v, mustBackup(t, v, id, have, nil), have); err != nil {
			t.Error(err)
		}
	}
}
