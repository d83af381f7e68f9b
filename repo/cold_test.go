package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// prepareCold brings the contents of a recovery point into cold packs.
func prepareCold(ctx context.Context, v *repo.Vault, id repo.PointID) (*repo.Writer, error) {
	w, err := v.NewWriter(ctx, repo.WriterOptions{Job: "cold " + string(id), Cold: id})
	if err != nil {
		return nil, err
	}
	if err := w.MoveToCold(ctx); err != nil {
		return nil, errors.Join(err, w.Abort(ctx))
	}
	return w, nil
}

// moveToCold moves a recovery point to cold storage and deletes what it was before.
func moveToCold(ctx context.Context, v *repo.Vault, l repo.Ledger, id repo.PointID) (repo.PointID, error) {
	w, err := prepareCold(ctx, v, id)
	if err != nil {
		return "", err
	}
	cold, err := w.Commit(ctx, w.Source().Facts())
	if err != nil {
		return "", errors.Join(err, w.Abort(ctx))
	}
	return cold, remove(ctx, v, l, id)
}

func mustMoveToCold(t testing.TB, v *repo.Vault, l repo.Ledger, id repo.PointID) repo.PointID {
	t.Helper()
	cold, err := moveToCold(t.Context(), v, l, id)
	if err != nil {
		t.Fatal(err)
	}
	return cold
}

// coldOptions is small, with cold packs of a few chunks.
func coldOptions() repo.CreateOptions {
	o := small()
	o.ColdPack = 512 << 10
	return o
}

func TestMoveToCold_FreesWhatOnlyThePointNeeded(t *testing.T) {
	t.Parallel()
	s, l := mem.New(), localledger.New(localledger.Options{})
	v := create(t, s, l, coldOptions())
	g := newGenerator(1)
	old := g.files(60)
	first := mustBackup(t, v, "", old, nil)
	have := g.change(old)
	second := mustBackup(t, v, first, have, old)

	cold := mustMoveToCold(t, v, l, first)
	reclaimAll(t, v)
	for id, want := range map[repo.PointID]files{cold: old, second: have} {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(sound(t.Context(), v), exact(t.Context(), v)); err != nil {
		t.Error(err)
	}
	if n := names(t, s); len(n["a"]) == 0 || len(n["format.2"]) != 1 {
		t.Errorf("objects = %v, want cold packs and a second format", n)
	}

	// Once both are cold, nothing but nodes and lists is warm.
	cold2 := mustMoveToCold(t, v, l, second)
	reclaimAll(t, v)
	n := names(t, s)
	if len(n["d"]) != 0 || len(n["m"]) == 0 {
		t.Errorf("objects = %v, want no data packs and some meta packs", n)
	}
	for id, want := range map[repo.PointID]files{cold: old, cold2: have} {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
	u, err := v.ColdUsage(t.Context())
	if err != nil || u.Points != 2 || u.LiveBytes == 0 || u.DeadBytes != 0 {
		t.Errorf("ColdUsage() = %+v, %v, want 2 points with live bytes only", u, err)
	}
}

func reclaimAll(t testing.TB, v *repo.Vault) {
	t.Helper()
	if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestMoveToCold_StoresWhatIsColdOnce(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	have := newGenerator(2).files(60)
	first := mustBackup(t, v, "", have, nil)
	second := mustBackup(t, v, first, have, have)
	mustMoveToCold(t, v, l, first)
	before, err := v.ColdUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustMoveToCold(t, v, l, second)
	after, err := v.ColdUsage(t.Context())
	if err != nil || after.LiveBytes+after.DeadBytes != before.LiveBytes+before.DeadBytes {
		t.Errorf("ColdUsage() = %+v, %v after a second move of the same, want as many bytes as in %+v", after, err, before)
	}
}

func TestBackup_ReliesOnNothingCold(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(3).files(60)
	cold := mustMoveToCold(t, v, l, mustBackup(t, v, "", have, nil))
	reclaimAll(t, v)
	if _, err := v.NewWriter(t.Context(), repo.WriterOptions{Parent: cold}); !errors.Is(err, repo.ErrCold) {
		t.Errorf("NewWriter(cold parent) = %v, want ErrCold", err)
	}
	if _, err := v.NewWriter(t.Context(), repo.WriterOptions{Cold: cold}); !errors.Is(err, repo.ErrCold) {
		t.Errorf("NewWriter(move of what is cold) = %v, want ErrCold", err)
	}
	warm := mustBackup(t, v, "", have, nil)
	for _, name := range names(t, s)["a"] {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(t.Context(), v, warm, have); err != nil {
		t.Errorf("without cold storage: %v", err)
	}
}

func TestPrepare_OfAMoveThatWasNotMade(t *testing.T) {
	t.Parallel()
	v, _, _ := newVault(t)
	id := mustBackup(t, v, "", newGenerator(10).files(10), nil)
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Cold: id})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if _, err := w.Small(t.Context(), []byte("x")); err == nil {
		t.Error("Small of a writer that moves = nil, want an error")
	}
	if _, err := w.Prepare(t.Context(), repo.Facts{}); err == nil {
		t.Error("Prepare without MoveToCold = nil, want an error: an empty recovery point would take the place of a full one")
	}
}

func TestMoveToCold_FindsWhatALostAttemptHasStored(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(11).files(60)
	id := mustBackup(t, v, "", have, nil)
	lost, err := prepareCold(t.Context(), v, id)
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := lost.Prepare(t.Context(), lost.Source().Facts())
	if err != nil {
		t.Fatal(err)
	}
	before := names(t, s)["a"]
	cold := mustMoveToCold(t, v, l, id) // under the same job
	if after := names(t, s)["a"]; !slices.Equal(before, after) {
		t.Errorf("cold packs = %v after a second attempt, want those of the first: %v", after, before)
	}
	if err := l.Commit(t.Context(), prepared); !errors.Is(err, repo.ErrFenced) {
		t.Errorf("commit of the lost attempt = %v, want ErrFenced", err)
	}
	lost.Abort(t.Context())
	reclaimAll(t, v)
	if err := errors.Join(verify(t.Context(), v, cold, have), sound(t.Context(), v)); err != nil {
		t.Error(err)
	}
}

func TestMoveToCold_OfDamagedContents(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(12).files(60)
	id := mustBackup(t, v, "", have, nil)
	overwrite(t, s, names(t, s)["d"][0], func(b []byte) []byte {
		for i := 1000; i < len(b)-1000; i += 500 {
			b[i] ^= 1
		}
		return b
	})
	if _, err := moveToCold(t.Context(), v, l, id); !errors.Is(err, repo.ErrDamaged) {
		t.Errorf("move = %v, want ErrDamaged", err)
	}
	if ids, err := v.PointIDs(t.Context()); err != nil || !slices.Equal(ids, []repo.PointID{id}) {
		t.Errorf("PointIDs() = %v, %v, want only %s as it was", ids, err, id)
	}
}

func TestColdPoint_IsListedWithoutColdStorage(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(4).files(60)
	cold := mustMoveToCold(t, v, l, mustBackup(t, v, "", have, nil))
	reclaimAll(t, v)
	for _, name := range names(t, s)["a"] {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	p, err := v.OpenPoint(t.Context(), cold)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n := 0
	for _, err := range p.Entries(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(have) {
		t.Errorf("%d entries, want %d", n, len(have))
	}
}

func TestMoveToCold_WhileThePointIsReadAndBackedUpAgainst(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	g := newGenerator(5)
	old := g.files(60)
	id := mustBackup(t, v, "", old, nil)
	reader, err := v.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w, err := v.NewWriter(t.Context(), repo.WriterOptions{Parent: id})
	if err != nil {
		t.Fatal(err)
	}
	cold := mustMoveToCold(t, v, l, id)
	reclaimAll(t, v)
	have := g.change(old)
	if err := capture(t.Context(), w, have, old); err != nil {
		t.Fatal(err)
	}
	next, err := w.Commit(t.Context(), repo.Facts{Resource: "r", Driver: "test"})
	if err != nil {
		t.Fatal(err)
	}
	reclaimAll(t, v)
	got, err := fetch(t.Context(), reader)
	if err == nil {
		err = old.equal(got)
	}
	if err != nil {
		t.Errorf("reader of what was moved: %v", err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	reclaimAll(t, v)
	for id, want := range map[repo.PointID]files{cold: old, next: have} {
		if err := verify(t.Context(), v, id, want); err != nil {
			t.Error(err)
		}
	}
	if err := sound(t.Context(), v); err != nil {
		t.Error(err)
	}
}

// TestReclaim_LeavesColdPacksAsLongAsTheyAreToStay also reclaims in a vault whose ledger has a clock that is ahead.
func TestReclaim_LeavesColdPacksAsLongAsTheyAreToStay(t *testing.T) {
	t.Parallel()
	const minimum = 90 * 24 * time.Hour
	for _, c := range []struct {
		name         string
		age, minimum time.Duration
		want         bool // cold packs are there afterwards
	}{
		{"before the minimum is over", minimum - time.Hour, minimum, true},
		{"after the minimum", minimum + time.Hour, minimum, false},
		{"registered by a clock that is ahead", -time.Hour, minimum, true},
		{"registered by a clock that is ahead, no minimum", -time.Hour, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var now atomic.Int64
			now.Store(time.Now().Add(-c.age).Unix())
			s, l := mem.New(), ledgerAt(&now)
			v := create(t, s, l, small())
			cold := mustMoveToCold(t, v, l, mustBackup(t, v, "", newGenerator(6).files(60), nil))
			if err := remove(t.Context(), v, l, cold); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Reclaim(t.Context(), repo.ReclaimOptions{ColdMinimum: c.minimum}); err != nil {
				t.Fatal(err)
			}
			if got := len(names(t, s)["a"]) > 0; got != c.want {
				t.Errorf("cold packs are there = %v, want %v", got, c.want)
			}
		})
	}
}

func TestReclaim_MovesColdContentsOnlyOutOfPacksThatAreMostlyDead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		other int // files that are deleted, for each that stays
		moved bool
	}{
		{"a third is needed", 2, false},
		{"a tenth is needed", 9, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, l := mem.New(), localledger.New(localledger.Options{})
			o := coldOptions()
			o.ColdPack = 32 << 20 // all in one
			v := create(t, s, l, o)
			all, some := files{}, files{}
			for i := range 20 * (c.other + 1) {
				key := fmt.Sprintf("f%04d", i)
				all[key] = randomBytes(9000)
				if i%(c.other+1) == 0 {
					some[key] = all[key]
				}
			}
			first := mustBackup(t, v, "", all, nil)
			second := mustBackup(t, v, first, some, all)
			first = mustMoveToCold(t, v, l, first)
			second = mustMoveToCold(t, v, l, second)
			before := names(t, s)["a"]
			if err := remove(t.Context(), v, l, first); err != nil {
				t.Fatal(err)
			}
			reclaimAll(t, v)
			if moved := !slices.Equal(before, names(t, s)["a"]); moved != c.moved {
				t.Errorf("cold packs were moved = %v, want %v", moved, c.moved)
			}
			if err := errors.Join(verify(t.Context(), v, second, some), sound(t.Context(), v)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReclaim_KeepsStorageClassesApart reclaims warm and cold packs at once that hold the same contents, whole and in parts
// of bundles.
func TestReclaim_KeepsStorageClassesApart(t *testing.T) {
	t.Parallel()
	v, _, l := newVault(t)
	all, some := files{}, files{}
	for i := range 400 {
		key := fmt.Sprintf("f%04d", i)
		all[key] = randomBytes(600 + 9000*(i/200)) // several to a bundle, or one
		if i%9 == 0 {
			some[key] = all[key]
		}
	}
	var ids []repo.PointID
	for _, have := range []files{all, all, some, some} {
		ids = append(ids, mustBackup(t, v, "", have, nil))
	}
	gone, warm := ids[1], ids[3]
	goneCold := mustMoveToCold(t, v, l, ids[0])
	cold := mustMoveToCold(t, v, l, ids[2])
	if err := errors.Join(remove(t.Context(), v, l, gone), remove(t.Context(), v, l, goneCold)); err != nil {
		t.Fatal(err)
	}
	before, err := v.ColdUsage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reclaimAll(t, v)
	after, err := v.ColdUsage(t.Context())
	if err == nil && after.LiveBytes+after.DeadBytes >= (before.LiveBytes+before.DeadBytes)/4 {
		err = fmt.Errorf("cold storage takes %+v, before the reclaim %+v", after, before)
	}
	err = errors.Join(err, verify(t.Context(), v, warm, some), verify(t.Context(), v, cold, some), sound(t.Context(), v),
		placed(t.Context(), v))
	if err != nil {
		t.Error(err)
	}
}

func TestOpenReadOnly_ShowsAMovedPointOnce(t *testing.T) {
	t.Parallel()
	v, s, l := newVault(t)
	have := newGenerator(7).files(30)
	id := mustBackup(t, v, "", have, nil)
	w, err := prepareCold(t.Context(), v, id)
	if err != nil {
		t.Fatal(err)
	}
	cold, err := w.Commit(t.Context(), w.Source().Facts())
	if err != nil {
		t.Fatal(err)
	}
	for _, deleted := range []bool{false, true} {
		ro, err := repo.OpenReadOnly(t.Context(), s, testKey, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ids, err := ro.PointIDs(t.Context())
		if err != nil || !slices.Equal(ids, []repo.PointID{cold}) {
			t.Errorf("PointIDs() = %v, %v, want only %s", ids, err, cold)
		}
		if err := verify(t.Context(), ro, cold, have); err != nil {
			t.Error(err)
		}
		if !deleted {
			if err := remove(t.Context(), v, l, id); err != nil {
				t.Fatal(err)
			}
			reclaimAll(t, v)
		}
	}
}

// TestModel_MovesToColdStorage runs random backups, moves, copies, deletions and reclaims.
func TestModel_MovesToColdStorage(t *testing.T) {
	t.Parallel()
	histories(t, 12, 2_000, func(t *testing.T, seed uint64) error {
		l := localledger.New(localledger.Options{})
		p := &place{create(t, mem.New(), l, coldOptions()), l, map[repo.PointID]files{}}
		return coldModel(t.Context(), newGenerator(seed), p)
	})
}

func coldModel(ctx context.Context, g generator, p *place) error {
	cold := map[repo.PointID]bool{}
	for step := range 10 + g.IntN(20) {
		ids := slices.Sorted(maps.Keys(p.points))
		warm := slices.DeleteFunc(slices.Clone(ids), func(id repo.PointID) bool { return cold[id] })
		var err error
		what := g.IntN(10)
		switch {
		case what < 4 || len(ids) == 0:
			err = p.backup(ctx, g, warm)
		case what < 6 && len(warm) > 0:
			id := warm[g.IntN(len(warm))]
			var made repo.PointID
			if made, err = moveToCold(ctx, p.v, p.ledger, id); err == nil {
				p.points[made], cold[made] = p.points[id], true
				delete(p.points, id)
			}
		case what < 7:
			id := ids[g.IntN(len(ids))]
			var made repo.PointID
			if made, _, err = copyPoint(ctx, p.v, p.v, id); err == nil {
				p.points[made] = p.points[id]
			}
		case what < 8:
			id := ids[g.IntN(len(ids))]
			delete(p.points, id)
			err = remove(ctx, p.v, p.ledger, id)
		default:
			_, err = p.v.Reclaim(ctx, repo.ReclaimOptions{Threshold: []float64{0, 0.1, 0.5}[g.IntN(3)]})
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	for range 2 { // before and after a reclaim
		for id, want := range p.points {
			if err := verify(ctx, p.v, id, want); err != nil {
				return err
			}
		}
		if err := errors.Join(sound(ctx, p.v), placed(ctx, p.v)); err != nil {
			return err
		}
		if _, err := p.v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
			return err
		}
	}
	return nil
}
