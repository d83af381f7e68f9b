package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/chunk"
	"github.com/lockfast/lockfast/repo/localledger"
)

// other are the options of a second vault of the same domain.
func other() repo.CreateOptions {
	o := small()
	o.UUID = [16]byte{8}
	return o
}

// copyPoint copies a recovery point and returns how far the copy came.
func copyPoint(ctx context.Context, from, to *repo.Vault, id repo.PointID) (repo.PointID, repo.CopyProgress, error) {
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
	if err := w.Copy(ctx, p); err != nil {
		return "", repo.CopyProgress{}, err
	}
	made, err := w.Commit(ctx, p.Facts())
	return made, w.CopyProgress(), err
}

func mustCopy(t *testing.T, from, to *repo.Vault, id repo.PointID) (repo.PointID, repo.CopyProgress) {
	t.Helper()
	made, progress, err := copyPoint(t.Context(), from, to, id)
	if err != nil {
		t.Fatal(err)
	}
	return made, progress
}

func TestCopy_IsIndependentOfItsSource(t *testing.T) {
	t.Parallel()
	from, _, fromLedger := newVault(t)
	toLedger := localledger.New(localledger.Options{})
	to := create(t, mem.New(), toLedger, other())
	g := newGenerator(3)
	have := g.files(60)
	source := mustBackup(t, from, "", have, nil)
	made, _ := mustCopy(t, from, to, source)
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
		t.Fatal(err)
	}
	if u, err := from.Usage(t.Context()); err != nil || u.LiveBytes+u.DeadBytes != 0 {
		t.Errorf("Usage of the source's vault = %+v, %v, want nothing stored", u, err)
	}
}

func TestCopy_OfTheCopyAfterTheOriginalHasGone(t *testing.T) {
	t.Parallel()
	from, _, fromLedger := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	have := newGenerator(4).files(40)
	source := mustBackup(t, from, "", have, nil)
	made, _ := mustCopy(t, from, to, source)
	if err := remove(t.Context(), from, fromLedger, source); err != nil {
		t.Fatal(err)
	}
	back, _ := mustCopy(t, to, from, made)
	if err := verify(t.Context(), from, back, have); err != nil {
		t.Error(err)
	}
}

func TestCopy_MovesOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
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
	_, all := mustCopy(t, from, to, a)
	if all.Moved < 2_700_000 || all.Bytes != all.Total {
		t.Errorf("first copy = %+v, want all of about 2.7 MB moved", all)
	}
	made, few := mustCopy(t, from, to, b)
	if few.Moved > all.Moved/20 || few.Moved == 0 {
		t.Errorf("copy of the second version moved %d bytes, the first one %d; want less than a twentieth", few.Moved, all.Moved)
	}
	_, none := mustCopy(t, from, to, b)
	if none.Moved != 0 {
		t.Errorf("second copy of the same recovery point moved %d bytes, want none", none.Moved)
	}
	if err := verify(t.Context(), to, made, second); err != nil {
		t.Error(err)
	}
}

func TestCopy_TakesTheLesserPartOfABundleAlone(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	all := files{}
	for i := range 40 {
		all[fmt.Sprintf("f%02d", i)] = randomBytes(600)
	}
	a := mustBackup(t, from, "", all, nil)
	few := files{"f03": all["f03"], "f31": all["f31"]}
	b := mustBackup(t, from, a, few, all)
	made, _ := mustCopy(t, from, to, b)
	if err := errors.Join(verify(t.Context(), to, made, few), exact(t.Context(), to)); err != nil {
		t.Error(err)
	}
}

func TestCopy_OfADamagedRecoveryPoint(t *testing.T) {
	t.Parallel()
	s := mem.New()
	from := create(t, s, localledger.New(localledger.Options{}), small())
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	have := files{"a": randomBytes(200_000), "b": randomBytes(800), "c": randomBytes(900)}
	id := mustBackup(t, from, "", have, nil)
	for _, name := range names(t, s)["d"] {
		overwrite(t, s, name, func(b []byte) []byte { b[len(b)/2]++; return b })
	}
	if _, _, err := copyPoint(t.Context(), from, to, id); !errors.Is(err, repo.ErrDamaged) {
		t.Fatalf("copy of a damaged recovery point = %v, want %v", err, repo.ErrDamaged)
	}
	if ids, err := to.PointIDs(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("recovery points after the copy = %v, %v, want none", ids, err)
	}
}

func TestCopy_IntoAnotherDomain(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	o := other()
	o.DomainKey = [32]byte{1}
	to := create(t, mem.New(), localledger.New(localledger.Options{}), o)
	id := mustBackup(t, from, "", files{"a": randomBytes(1000)}, nil)
	if _, _, err := copyPoint(t.Context(), from, to, id); !errors.Is(err, repo.ErrDomain) {
		t.Errorf("copy into another domain = %v, want %v", err, repo.ErrDomain)
	}
}

func TestCopy_TakesNothingElse(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	id := mustBackup(t, from, "", files{"a": randomBytes(1000)}, nil)
	p, err := from.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w, err := to.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if err := w.Copy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := w.Tree().Put(t.Context(), repo.Entry{Key: []byte("b")}); !errors.Is(err, repo.ErrClosed) {
		t.Errorf("Put after Copy = %v, want %v", err, repo.ErrClosed)
	}
	if err := w.Copy(t.Context(), p); !errors.Is(err, repo.ErrClosed) {
		t.Errorf("second Copy = %v, want %v", err, repo.ErrClosed)
	}
}

// TestCopy_BesideAReclaimOfItsSource deletes and reclaims the source while its copy is open.
func TestCopy_BesideAReclaimOfItsSource(t *testing.T) {
	t.Parallel()
	from, _, fromLedger := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	g := newGenerator(5)
	have := g.files(60)
	id := mustBackup(t, from, "", have, nil)
	kept := mustBackup(t, from, id, g.change(have), have)
	p, err := from.OpenPoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	done := make(chan error, 1)
	go func() {
		err := remove(t.Context(), from, fromLedger, id)
		if err == nil {
			_, err = from.Reclaim(t.Context(), repo.ReclaimOptions{})
		}
		done <- err
	}()
	w, err := to.NewWriter(t.Context(), repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(t.Context())
	if err := w.Copy(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	made, err := w.Commit(t.Context(), p.Facts())
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), to, made, have); err != nil {
		t.Error(err)
	}
	if _, _, err := copyPoint(t.Context(), from, to, kept); err != nil {
		t.Errorf("copy after the reclaim = %v", err)
	}
}

// copyHistory copies versions into the machine's vault and deletes some there; it ends at the first error.
func (m *machine) copyHistory(ctx context.Context, from *repo.Vault, versions []line) error {
	v, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	var made []repo.PointID
	for _, version := range versions {
		id, err := m.copyIn(ctx, from, v, version)
		if err != nil {
			return err
		}
		made = append(made, id)
	}
	if err := m.remove(ctx, v, made[0]); err != nil {
		return err
	}
	if _, err = v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	_, err = m.copyIn(ctx, from, v, versions[0])
	return err
}

// copyIn copies a recovery point into the machine's vault.
func (m *machine) copyIn(ctx context.Context, from, v *repo.Vault, version line) (repo.PointID, error) {
	p, err := from.OpenPoint(ctx, version.id)
	if err != nil {
		return "", err
	}
	defer p.Close()
	w, err := v.NewWriter(ctx, repo.WriterOptions{Job: "copy"})
	if err != nil {
		return "", err
	}
	defer w.Abort(ctx)
	if err := w.CopyAcross(ctx, p); err != nil { // which is Copy in one domain
		return "", err
	}
	made, err := w.Prepare(ctx, repo.Facts{Created: time.Unix(1, 0)})
	if err != nil {
		return "", err
	}
	m.expected[made.Point] = version.have
	if err := (machineLedger{m.ledger, m}).Commit(ctx, made); err != nil {
		return "", err
	}
	m.promised[made.Point] = true
	return made.Point, nil
}

// TestCopy_CutAtEveryStep cuts the power of the vault that receives copies; the one they come from lives on. After the
// restart everything that was promised is there, and the copies go through.
func TestCopy_CutAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]repo.CreateOptions{"one domain": other(), "another domain": foreign()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cutCopies(t, create(t, mem.New(), localledger.New(localledger.Options{}), o))
		})
	}
}

func cutCopies(t *testing.T, from *repo.Vault) {
	t.Helper()
	g := newGenerator(12)
	a := g.files(30)
	b := g.change(a)
	versions := []line{{have: a}, {have: b}}
	versions[0].id = mustBackup(t, from, "", a, nil)
	versions[1].id = mustBackup(t, from, versions[0].id, b, a)
	dry := newMachine(0, cutBefore)
	if err := dry.copyHistory(t.Context(), from, versions); err != nil {
		t.Fatal(err)
	}
	for mode := range cutModes {
		for at := 5 + int(mode); at <= dry.steps; at += 2 { // before that the vault is made
			if err := cutCopy(t.Context(), at, mode, from, versions); err != nil {
				t.Fatalf("cut at %d, mode %d: %v", at, mode, err)
			}
		}
	}
}

func cutCopy(ctx context.Context, at int, mode cutMode, from *repo.Vault, versions []line) error {
	m := newMachine(at, mode)
	if err := m.copyHistory(ctx, from, versions); err != nil && !m.off {
		return fmt.Errorf("history: %w", err)
	}
	v, err := m.restart(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := m.mend(ctx, v); err != nil {
		return err
	}
	if err := m.inspect(ctx, v); err != nil {
		return fmt.Errorf("%s: %w", m.what, err)
	}
	id, err := m.copyIn(ctx, from, v, versions[1])
	if err != nil {
		return fmt.Errorf("copy after the restart: %w", err)
	}
	return verify(ctx, v, id, versions[1].have)
}

func TestCopy_OfAnEmptyRecoveryPoint(t *testing.T) {
	t.Parallel()
	from, _, _ := newVault(t)
	to := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	for _, have := range []files{{}, {"empty": nil, "inline": []byte("x"), "hole": make([]byte, chunk.MaxPart+8192)}} {
		made, _ := mustCopy(t, from, to, mustBackup(t, from, "", have, nil))
		if err := verify(t.Context(), to, made, have); err != nil {
			t.Error(err)
		}
	}
}
