package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
)

// foreign are the options of a vault of another domain.
func foreign() repo.CreateOptions {
	o := small()
	o.UUID, o.DomainKey = [16]byte{9}, [32]byte{1, 2, 3}
	return o
}

// across copies a recovery point into a vault of another domain and returns how far the copy came.
func across(ctx context.Context, from, to *repo.Vault, id repo.PointID) (repo.PointID, repo.CopyProgress, error) {
	p, err := from.OpenPoint(ctx, id)
	if err != nil {
		return "", repo.CopyProgress{}, err
	}
	defer p.Close()
	w, err := to.NewWriter(ctx, repo.WriterOptions{Job: "copy of " + string(id)})
	if err != nil {
		return "", repo.CopyProgress{}, err
	}
	defer w.Abort(ctx)
	if err := w.CopyAcross(ctx, p); err != nil {
		return "", repo.CopyProgress{}, err
	}
	made, err := w.Commit(ctx, p.Facts())
	return made, w.CopyProgress(), err
}

func mustCross(t *testing.T, from, to *repo.Vault, id repo.PointID) (repo.PointID, repo.CopyProgress) {
	t.Helper()
	made, progress, err := across(t.Context(), from, to, id)
	if err != nil {
		t.Fatal(err)
	}
	return made, progress
}

func TestCopyAcross_IsIndependentOfItsSource(t *testing.T) {
	t.Parallel()
	from, _, fromLedger := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), foreign())
	g := newGenerator(5)
	have := g.files(60)
	have["long"] = randomBytes(3_000_000)                 // of many extents
	have["holes"] = append(make([]byte, 1<<20), "end"...) // of zeros
	source := mustBackup(t, from, "", have, nil)
	made, progress := mustCross(t, from, to, source)
	if progress.Moved == 0 || progress.Bytes > progress.Total {
		t.Errorf("progress = %+v", progress)
	}
	if err := remove(t.Context(), from, fromLedger, source); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*repo.Vault{from, to} {
		if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(sound(t.Context(), v), exact(t.Context(), v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(t.Context(), to, made, have); err != nil {
		t.Error(err)
	}
}

// TestCopyAcross_GivesTheTreeOfABackup compares the nodes: equal maps of a domain are equal trees, whoever made them.
func TestCopyAcross_GivesTheTreeOfABackup(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), foreign())
	have := files{}
	for i := range 700 {
		have[fmt.Sprintf("f%03d", i)] = randomBytes(200 + i%800)
	}
	made, _ := mustCross(t, from, to, mustBackup(t, from, "", have, nil))
	own := mustBackup(t, to, "", have, nil)
	a, b := opened(t, to, made), opened(t, to, own)
	for change, err := range a.Diff(t.Context(), b) {
		t.Fatalf("the copy differs from a backup of the same files: %+v, %v", change, err)
	}
	stored := b.Stats().BytesStored
	if stored > 64<<10 {
		t.Errorf("a backup of what was copied stored %d bytes anew", stored)
	}
}

func opened(t *testing.T, v *repo.Vault, id repo.PointID) *repo.Point {
	t.Helper()
	p, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestCopyAcross_MovesOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	s := mem.New()
	to := create(t, s, localledger.New(localledger.Options{}), foreign())
	first := files{}
	for i := range 300 {
		first[fmt.Sprintf("small%03d", i)] = randomBytes(1000 + i)
	}
	for i := range 8 {
		first[fmt.Sprintf("large%d", i)] = randomBytes(300_000)
	}
	second := maps.Clone(first)
	second["small007"] = randomBytes(1000)
	second["large3"] = append(bytes.Clone(first["large3"]), "a bit more"...)
	a := mustBackup(t, from, "", first, nil)
	b := mustBackup(t, from, a, second, first)
	_, all := mustCross(t, from, to, a)
	if all.Moved < 2_700_000 {
		t.Errorf("first copy = %+v, want all of about 2.7 MB moved", all)
	}
	before := names(t, s)
	made, few := mustCross(t, from, to, b)
	if few.Moved > all.Moved/20 || few.Moved == 0 {
		t.Errorf("copy of the second version moved %d bytes, the first one %d; want less than a twentieth", few.Moved, all.Moved)
	}
	if n := len(names(t, s)["d"]) - len(before["d"]); n != 1 {
		t.Errorf("copy of the second version put %d data packs, want the one with what changed", n)
	}
	if n := len(names(t, s)["t"]) - len(before["t"]); n != 1 {
		t.Errorf("copy of the second version put %d objects of the copy map, want one", n)
	}
	before = names(t, s)
	_, none := mustCross(t, from, to, b)
	after := names(t, s)
	if none.Moved != 0 || len(after["d"]) != len(before["d"]) || len(after["t"]) != len(before["t"]) {
		t.Errorf("second copy of the same recovery point moved %d bytes, want none", none.Moved)
	}
	if err := verify(t.Context(), to, made, second); err != nil {
		t.Error(err)
	}
}

// TestCopyAcross_WithoutItsMap removes or spoils the map: that costs reading, nothing else.
func TestCopyAcross_WithoutItsMap(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(t *testing.T, s *mem.Store, name blob.Name){
		"removed": func(t *testing.T, s *mem.Store, name blob.Name) {
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, s *mem.Store, name blob.Name) {
			overwrite(t, s, name, ruin)
		},
	} {
		from, _, _ := newVault(t)
		s := mem.New()
		to := create(t, s, localledger.New(localledger.Options{}), foreign())
		have := newGenerator(6).files(40)
		id := mustBackup(t, from, "", have, nil)
		_, all := mustCross(t, from, to, id)
		before := names(t, s)
		for _, object := range before["t"] {
			harm(t, s, object)
		}
		made, again := mustCross(t, from, to, id)
		if again.Moved != all.Moved || len(names(t, s)["d"]) != len(before["d"]) {
			t.Errorf("%s: the second copy read %d bytes, the first one %d; %d data packs, before %d", name, again.Moved, all.Moved,
				len(names(t, s)["d"]), len(before["d"]))
		}
		if err := verify(t.Context(), to, made, have); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyAcross_KeepsItsMapSmall(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	s := mem.New()
	to := create(t, s, localledger.New(localledger.Options{}), foreign())
	have := files{}
	var last repo.PointID
	for i := range 20 {
		have[fmt.Sprintf("f%02d", i)] = randomBytes(900)
		last = mustBackup(t, from, "", have, nil)
		mustCross(t, from, to, last)
	}
	if n := len(names(t, s)["t"]); n > 10 {
		t.Errorf("the copy map has %d objects after 20 copies, want 10 at most", n)
	}
	if _, none := mustCross(t, from, to, last); none.Moved != 0 {
		t.Errorf("a copy of what is there moved %d bytes", none.Moved)
	}
}

func TestCopyAcross_OfADamagedRecoveryPoint(t *testing.T) {
	t.Parallel()
	s := mem.New()
	from := create(t, s, localledger.New(localledger.Options{}), small())
	to := create(t, mem.New(), localledger.New(localledger.Options{}), foreign())
	id := mustBackup(t, from, "", files{"a": randomBytes(200_000), "b": randomBytes(800), "c": randomBytes(900)}, nil)
	for _, name := range names(t, s)["d"] {
		overwrite(t, s, name, func(b []byte) []byte { b[len(b)/2]++; return b })
	}
	if _, _, err := across(t.Context(), from, to, id); !errors.Is(err, repo.ErrDamaged) {
		t.Fatalf("copy of a damaged recovery point = %v, want %v", err, repo.ErrDamaged)
	}
	if ids, err := to.PointIDs(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("recovery points after the copy = %v, %v, want none", ids, err)
	}
}

// TestCopyAcross_HidesTheIdsOfItsSource looks for ids of the one domain in the clear in the store of the other.
func TestCopyAcross_HidesTheIdsOfItsSource(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	s := mem.New()
	to := create(t, s, localledger.New(localledger.Options{}), foreign())
	id := mustBackup(t, from, "", files{"a": randomBytes(5000)}, nil)
	made, _ := mustCross(t, from, to, id)
	ids := map[chunk.ID]bool{}
	for _, p := range []*repo.Point{opened(t, from, id), opened(t, to, made)} {
		e, err := p.Lookup(t.Context(), []byte("a"))
		if err != nil || len(e.Content.Extents) == 0 {
			t.Fatal(err)
		}
		ids[e.Content.Extents[0].ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("a content has the same id in both domains: %v", slices.Collect(maps.Keys(ids)))
	}
	for _, list := range names(t, s) {
		for _, name := range list {
			for x := range ids {
				if b := raw(t, s, name); bytes.Contains(b, x[:]) || strings.Contains(string(name), x.String()) {
					t.Errorf("%s shows an id", name)
				}
			}
		}
	}
}

// TestModel_CopiesAcrossDomains is TestModel_CopiesBetweenVaults for two domains.
func TestModel_CopiesAcrossDomains(t *testing.T) {
	t.Parallel()
	histories(t, 12, 2_000, func(t *testing.T, seed uint64) error {
		places := []*place{}
		for _, o := range []repo.CreateOptions{small(), foreign()} {
			l := localledger.New(localledger.Options{})
			places = append(places, &place{create(t, mem.New(), l, o), l, map[repo.PointID]files{}})
		}
		return copyModel(t.Context(), newGenerator(seed), places, across)
	})
}

func TestCopyAcross_OfAnEmptyRecoveryPoint(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), foreign())
	for _, have := range []files{{}, {"empty": nil, "inline": []byte("x"), "hole": make([]byte, chunk.MaxPart+8192)}} {
		made, _ := mustCross(t, from, to, mustBackup(t, from, "", have, nil))
		if err := verify(t.Context(), to, made, have); err != nil {
			t.Error(err)
		}
	}
}

func TestCopyAcross_TakesNothingElse(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), foreign())
	p := opened(t, from, mustBackup(t, from, "", files{"a": randomBytes(1000)}, nil))
	w, err := to.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if err := w.CopyAcross(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := w.Tree().Put(t.Context(), repo.Entry{Key: []byte("b")}); !errors.Is(err, repo.ErrClosed) {
		t.Errorf("Put after CopyAcross = %v, want %v", err, repo.ErrClosed)
	}
	if err := w.CopyAcross(t.Context(), p); !errors.Is(err, repo.ErrClosed) {
		t.Errorf("second CopyAcross = %v, want %v", err, repo.ErrClosed)
	}
}
