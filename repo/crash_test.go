package repo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/blob"
	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/blob/fs/crashfs"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

var errPower = errors.New("power is cut")

// cutMode says what becomes of the change at which the power is cut.
type cutMode int

const (
	cutBefore cutMode = iota // it did not happen
	cutAfter                 // it happened, its caller never learned
	cutTorn                  // of an object half the bytes are there, as a bad store leaves them
	cutModes
	suspend // it happens when cutting returns, and the machine goes on; until then it stands still
)

// machine is a store and a ledger whose power is cut at one of their changes. From then on every call fails.
type machine struct {
	store  blob.Store
	ledger *localledger.Ledger
	packs  int // data packs that a backup fills at once; 0 = 1

	mu       sync.Mutex
	steps    int // changes so far
	at       int // cut at this change, counted from 1; 0 = never
	mode     cutMode
	off      bool
	cutting  func()                        // called at the cut, before the change; may be nil
	before   func(context.Context, string) // called before each change and each read; may be nil
	what     string                        // the change at which the power was cut
	expected map[repo.PointID]files        // contents of points whose commit was tried
	promised map[repo.PointID]bool         // commits that returned without error
	deleting map[repo.PointID]bool         // deletions that began
	moved    map[repo.PointID]repo.PointID // what has taken the place of a point, if its commit succeeded
	recorded map[repo.PointID]bool         // points that have states
	renamed  map[repo.PointID]bool         // points of which another state was written
}

func newMachine(at int, mode cutMode) *machine {
	return &machine{
		store: mem.New(), ledger: localledger.New(localledger.Options{}), at: at, mode: mode,
		expected: map[repo.PointID]files{}, promised: map[repo.PointID]bool{}, deleting: map[repo.PointID]bool{}, moved: map[repo.PointID]repo.PointID{},
		renamed: map[repo.PointID]bool{}, recorded: map[repo.PointID]bool{},
	}
}

// change counts a change: apply is called unless the power is off or cut before it.
func (m *machine) change(ctx context.Context, what string, apply, torn func() error) error {
	if m.before != nil {
		m.before(ctx, what)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return errPower
	}
	m.steps++
	if m.steps != m.at {
		return apply()
	}
	m.off, m.what = m.mode != suspend, what
	if m.cutting != nil {
		m.cutting()
	}
	switch {
	case m.mode == suspend:
		return apply()
	case m.mode == cutAfter:
		apply()
	case m.mode == cutTorn && torn != nil:
		torn()
	}
	return errPower
}

func (m *machine) read(ctx context.Context, what string) error {
	if m.before != nil {
		m.before(ctx, what)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return errPower
	}
	return nil
}

// machineStore is the store of a machine.
type machineStore struct{ *machine }

func (s machineStore) Put(ctx context.Context, name blob.Name, r io.Reader, size int64) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	put := func(b []byte) func() error {
		return func() error { return s.store.Put(ctx, name, bytes.NewReader(b), int64(len(b))) }
	}
	return s.change(ctx, "put "+string(name), put(b), put(b[:len(b)/2]))
}

// PutStream is a change when its reader ends: before, nobody sees anything of it.
func (s machineStore) PutStream(ctx context.Context, name blob.Name, r io.Reader) error {
	return s.Put(ctx, name, r, 0)
}

func (s machineStore) Delete(ctx context.Context, name blob.Name) error {
	return s.change(ctx, "delete "+string(name), func() error { return s.store.Delete(ctx, name) }, nil)
}

func (s machineStore) Get(ctx context.Context, name blob.Name, off, n int64) (io.ReadCloser, error) {
	if err := s.read(ctx, "get "+string(name)); err != nil {
		return nil, err
	}
	return s.store.Get(ctx, name, off, n)
}

func (s machineStore) Stat(ctx context.Context, name blob.Name) (blob.Info, error) {
	if err := s.read(ctx, "stat "+string(name)); err != nil {
		return blob.Info{}, err
	}
	return s.store.Stat(ctx, name)
}

func (s machineStore) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if err := s.read(ctx, "list "+prefix); err != nil {
		return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, err) }
	}
	return s.store.List(ctx, prefix)
}

// machineLedger is the ledger of a machine. Only methods that change rows count as changes.
type machineLedger struct {
	repo.Ledger
	m *machine
}

func (l machineLedger) Open(ctx context.Context, o repo.SessionOptions) (s repo.Session, err error) {
	err2 := l.m.change(ctx, "ledger open", func() error { s, err = l.Ledger.Open(ctx, o); return err }, nil)
	return s, err2
}

func (l machineLedger) Renew(ctx context.Context, id repo.SessionID) (uint64, error) {
	if err := l.m.read(ctx, "ledger renew"); err != nil {
		return 0, err
	}
	return l.Ledger.Renew(ctx, id)
}

func (l machineLedger) Waiting(ctx context.Context, epoch uint64) ([]repo.Session, error) {
	if err := l.m.read(ctx, "ledger waiting"); err != nil {
		return nil, err
	}
	return l.Ledger.Waiting(ctx, epoch)
}

func (l machineLedger) Snapshot(ctx context.Context) (repo.Snapshot, error) {
	if err := l.m.read(ctx, "ledger snapshot"); err != nil {
		return repo.Snapshot{}, err
	}
	return l.Ledger.Snapshot(ctx)
}

func (l machineLedger) Changes(ctx context.Context, since uint64) ([]repo.Object, uint64, error) {
	if err := l.m.read(ctx, "ledger changes"); err != nil {
		return nil, 0, err
	}
	return l.Ledger.Changes(ctx, since)
}

func (l machineLedger) Ended(ctx context.Context, ids []repo.PointID) ([]repo.PointID, error) {
	if err := l.m.read(ctx, "ledger ended"); err != nil {
		return nil, err
	}
	return l.Ledger.Ended(ctx, ids)
}

func (l machineLedger) Fence(ctx context.Context) (int, error) {
	if err := l.m.read(ctx, "ledger fence"); err != nil {
		return 0, err
	}
	return l.Ledger.Fence(ctx)
}

func (l machineLedger) Damages(ctx context.Context) ([]repo.DamageRecord, error) {
	if err := l.m.read(ctx, "ledger damages"); err != nil {
		return nil, err
	}
	return l.Ledger.Damages(ctx)
}

func (l machineLedger) Acknowledge(ctx context.Context, id repo.SessionID, pins []byte) (e uint64, err error) {
	err2 := l.m.change(ctx, "ledger acknowledge", func() error { e, err = l.Ledger.Acknowledge(ctx, id, pins); return err }, nil)
	return e, err2
}

func (l machineLedger) Close(ctx context.Context, id repo.SessionID) error {
	return l.m.change(ctx, "ledger close", func() error { return l.Ledger.Close(ctx, id) }, nil)
}

func (l machineLedger) Reserve(ctx context.Context, id repo.SessionID, o []repo.Object) error {
	return l.m.change(ctx, "ledger reserve", func() error { return l.Ledger.Reserve(ctx, id, o) }, nil)
}

func (l machineLedger) Register(ctx context.Context, id repo.SessionID, o []repo.Object) error {
	return l.m.change(ctx, "ledger register", func() error { return l.Ledger.Register(ctx, id, o) }, nil)
}

func (l machineLedger) Announce(ctx context.Context, id repo.SessionID) (h repo.JournalHead, err error) {
	err2 := l.m.change(ctx, "ledger announce", func() error { h, err = l.Ledger.Announce(ctx, id); return err }, nil)
	return h, err2
}

func (l machineLedger) Commit(ctx context.Context, p repo.Prepared) error {
	return l.m.change(ctx, "ledger commit", func() error { return l.Ledger.Commit(ctx, p) }, nil)
}

func (l machineLedger) Delete(ctx context.Context, id repo.PointID) error {
	return l.m.change(ctx, "ledger delete", func() error { return l.Ledger.Delete(ctx, id) }, nil)
}

func (l machineLedger) Remove(ctx context.Context, id repo.PointID) error {
	return l.m.change(ctx, "ledger remove", func() error { return l.Ledger.Remove(ctx, id) }, nil)
}

func (l machineLedger) Condemn(ctx context.Context, id repo.SessionID, p []repo.ID) (e uint64, err error) {
	err2 := l.m.change(ctx, "ledger condemn", func() error { e, err = l.Ledger.Condemn(ctx, id, p); return err }, nil)
	return e, err2
}

func (l machineLedger) Rescue(ctx context.Context, id repo.SessionID, p []repo.ID) error {
	return l.m.change(ctx, "ledger rescue", func() error { return l.Ledger.Rescue(ctx, id, p) }, nil)
}

func (l machineLedger) Retire(ctx context.Context, id repo.SessionID, o []repo.Retirement) error {
	return l.m.change(ctx, "ledger retire", func() error { return l.Ledger.Retire(ctx, id, o) }, nil)
}

func (l machineLedger) Forget(ctx context.Context, id repo.SessionID, o []repo.ID, s []repo.SessionID) error {
	return l.m.change(ctx, "ledger forget", func() error { return l.Ledger.Forget(ctx, id, o, s) }, nil)
}

// open opens the machine's vault, making it if there is none.
func (m *machine) open(ctx context.Context) (*repo.Vault, error) {
	l := machineLedger{m.ledger, m}
	o := small()
	o.Options.DataPacks = m.packs
	v, err := repo.Create(ctx, machineStore{m}, l, testKey, o)
	if errors.Is(err, blob.ErrExist) {
		v, err = repo.Open(ctx, machineStore{m}, l, testKey, o.Options)
	}
	if err == nil {
		repo.SettleEach(v)
	}
	return v, err
}

// mend repairs what a torn write has damaged under a name that counts at once: a copy map, or a further format object.
func (m *machine) mend(ctx context.Context, v *repo.Vault) error {
	if m.mode != cutTorn || !strings.HasPrefix(m.what, "put t/") && !strings.HasPrefix(m.what, "put format.") {
		return nil
	}
	if _, err := v.Repair(ctx, repo.RepairOptions{Check: true, Level: repo.CheckTrees}); err != nil {
		return fmt.Errorf("%s: repair: %w", m.what, err)
	}
	return nil
}

// backup makes a recovery point and notes what it should hold.
func (m *machine) backup(ctx context.Context, v *repo.Vault, parent repo.PointID, have, before files) (repo.PointID, error) {
	w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: parent})
	if err != nil {
		return "", err
	}
	defer w.Abort(ctx)
	if err := capture(ctx, w, have, before); err != nil {
		return "", err
	}
	p, err := w.Prepare(ctx, repo.Facts{Record: &repo.PointRecord{ARN: "first"}})
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	m.expected[p.Point], m.recorded[p.Point] = have, true
	m.mu.Unlock()
	if err := (machineLedger{m.ledger, m}).Commit(ctx, p); err != nil {
		return "", err
	}
	m.promised[p.Point] = true
	return p.Point, nil
}

func (m *machine) remove(ctx context.Context, v *repo.Vault, id repo.PointID) error {
	m.deleting[id] = true
	return remove(ctx, v, machineLedger{m.ledger, m}, id)
}

// restart brings the power back: the sessions' owners are gone.
func (m *machine) restart(ctx context.Context) (*repo.Vault, error) {
	m.mu.Lock()
	m.off, m.at = false, 0
	m.mu.Unlock()
	if err := m.ledger.FenceAll(); err != nil {
		return nil, err
	}
	return m.open(ctx)
}

// inspect checks everything that has to hold after a restart, reclaims, and checks it again.
func (m *machine) inspect(ctx context.Context, v *repo.Vault) error {
	if err := m.compare(ctx, v); err != nil {
		return fmt.Errorf("before reclaim: %w", err)
	}
	if _, err := v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	if err := m.compare(ctx, v); err != nil {
		return fmt.Errorf("after reclaim: %w", err)
	}
	if err := m.tidy(ctx, v); err != nil {
		return fmt.Errorf("after reclaim: %w", err)
	}
	plain, err := repo.OpenReadOnly(ctx, m.store, testKey, repo.Options{Workers: 1})
	if err != nil {
		return err
	}
	if err := m.compare(ctx, plain); err != nil {
		return fmt.Errorf("without a ledger: %w", err)
	}
	return nil
}

// compare restores every point.
func (m *machine) compare(ctx context.Context, v *repo.Vault) error {
	ids, err := v.PointIDs(ctx)
	if err != nil {
		return err
	}
	for id := range m.promised {
		if !m.deleting[id] && !slices.Contains(ids, id) && !slices.Contains(ids, m.moved[id]) {
			return fmt.Errorf("recovery point %s was committed and is lost", id)
		}
	}
	for _, id := range ids {
		want, ok := m.expected[id]
		if !ok {
			return fmt.Errorf("recovery point %s came from nowhere", id)
		}
		if err := verify(ctx, v, id, want); err != nil {
			return err
		}
		if err := m.stated(ctx, v, id); err != nil {
			return err
		}
	}
	return m.soundButForStates(ctx, v)
}

// soundButForStates is sound, but for states that were torn: the generation before them counts.
func (m *machine) soundButForStates(ctx context.Context, v *repo.Vault) error {
	report, err := v.Check(ctx, repo.CheckOptions{Level: repo.CheckBytes})
	for _, d := range report.Damages {
		if !strings.HasPrefix(d.Object, "p/") {
			return d.Err
		}
	}
	return err
}

// stated demands that a point has the state that was written last, or the one that was being written.
func (m *machine) stated(ctx context.Context, v *repo.Vault, id repo.PointID) error {
	found, err := v.PointState(ctx, id)
	switch {
	case err != nil:
		return err
	case !m.recorded[id]:
		return nil
	case found.State == nil:
		return fmt.Errorf("recovery point %s has lost its state: %v", id, found.Damage)
	case found.State.ARN != "first" && found.State.ARN != "second", m.renamed[id] && found.State.ARN == "first":
		return fmt.Errorf("recovery point %s has the state %+v", id, *found.State)
	}
	return nil
}

// rename writes another state of a point.
func (m *machine) rename(ctx context.Context, v *repo.Vault, id repo.PointID) error {
	_, err := v.PutPointState(ctx, id, repo.PointRecord{Generation: 2, ARN: "second"})
	m.renamed[id] = err == nil
	return err
}

// tidy demands that nothing is left that no point needs.
func (m *machine) tidy(ctx context.Context, v *repo.Vault) error {
	u, err := v.Usage(ctx)
	if err != nil {
		return err
	}
	cold, err := v.ColdUsage(ctx)
	if err != nil {
		return err
	}
	if dead := u.DeadBytes - cold.DeadBytes; dead != 0 { // cold packs stay while a fifth of them is needed
		return fmt.Errorf("%d dead bytes are left", dead)
	}
	if err := exact(ctx, v); err != nil {
		return err
	}
	snapshot, err := m.ledger.Snapshot(ctx)
	if err != nil {
		return err
	}
	objects, _, err := m.ledger.Changes(ctx, 0)
	if err != nil {
		return err
	}
	want := map[string]int{}
	for _, p := range snapshot.Points {
		if !p.Deleting {
			want["r"]++
			want["f"]++
			if m.recorded[p.ID] {
				want["p"]++
			}
		}
	}
	for _, o := range objects {
		if o.State != repo.ObjectLive {
			return fmt.Errorf("object %s is left in state %d", o.ID, o.State)
		}
		want[map[repo.ObjectKind]string{repo.ObjectData: "d", repo.ObjectMeta: "m", repo.ObjectSegment: "x", repo.ObjectCold: "a"}[o.Kind]]++
	}
	if len(snapshot.Sessions) > 1 || want["x"] > 1 { // the row of the collector that just ended stays
		return fmt.Errorf("%d sessions and %d segments are left", len(snapshot.Sessions), want["x"])
	}
	for _, kind := range []string{"a", "d", "m", "x", "r", "f", "p"} {
		n, points := 0, map[string]bool{}
		for info, err := range m.store.List(ctx, kind+"/") {
			if err != nil {
				return err
			}
			n++
			points[strings.Split(string(info.Name), "-")[0]] = true
		}
		if kind == "p" {
			n = len(points) // of a state that was cut the older generation may be there, too
		}
		if n != want[kind] {
			return fmt.Errorf("%d objects under %s/, want %d: %v", n, kind, want[kind], points)
		}
	}
	return nil
}

// history does a bit of everything; it ends at the first error.
func (m *machine) history(ctx context.Context) error {
	v, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	g := newGenerator(11)
	a0 := g.files(25)
	a1 := g.change(a0)
	b0 := g.files(25)
	b1 := g.change(b0)
	a, err := m.backup(ctx, v, "", a0, nil)
	if err != nil {
		return err
	}
	b, err := m.backup(ctx, v, "", b0, nil)
	if err != nil {
		return err
	}
	aa, err := m.backup(ctx, v, a, a1, a0)
	if err != nil {
		return err
	}
	if err := m.rename(ctx, v, aa); err != nil {
		return err
	}
	if err := m.rename(ctx, v, b); err != nil {
		return err
	}
	if err := m.remove(ctx, v, a); err != nil {
		return err
	}
	w, err := v.NewWriter(ctx, repo.WriterOptions{Parent: b}) // runs beside the reclaim
	if err != nil {
		return err
	}
	defer w.Abort(ctx)
	if err := capture(ctx, w, b1, b0); err != nil {
		return err
	}
	if err := m.remove(ctx, v, b); err != nil {
		return err
	}
	if _, err := v.Reclaim(ctx, repo.ReclaimOptions{}); err != nil {
		return err
	}
	p, err := w.Prepare(ctx, repo.Facts{Record: &repo.PointRecord{ARN: "first"}})
	if err != nil {
		return err
	}
	m.expected[p.Point], m.recorded[p.Point] = b1, true
	if err := (machineLedger{m.ledger, m}).Commit(ctx, p); err != nil {
		return err
	}
	m.promised[p.Point] = true
	w.Abort(ctx)
	if err := m.remove(ctx, v, aa); err != nil {
		return err
	}
	_, err = v.Reclaim(ctx, repo.ReclaimOptions{})
	return err
}

func TestCrash_AtEveryStep(t *testing.T) {
	t.Parallel()
	dry := newMachine(0, cutBefore)
	if err := dry.history(t.Context()); err != nil {
		t.Fatal(err)
	}
	stride := 3
	if soak() > 0 {
		stride = 1
	}
	const pairs = 4 // objects that a new vault begins with, two keys and two formats: one that is torn is damage that can be repaired
	for mode := range cutModes {
		for at := 1 + int(mode)%stride; at <= dry.steps+5; at += stride {
			m := newMachine(at, mode)
			err := m.history(t.Context())
			if err != nil && !m.off {
				t.Fatalf("cut at %d, mode %d: history = %v", at, mode, err)
			}
			if mode == cutTorn && (m.what == "put format" || m.what == "put c/1") {
				continue // there is no other one yet: such a vault cannot be opened, and nothing is in it
			}
			v, err := m.restart(t.Context())
			if err == nil && mode == cutTorn && at <= pairs {
				_, err = v.Repair(t.Context(), repo.RepairOptions{Check: true, Level: repo.CheckHeads})
			}
			if err == nil {
				err = m.inspect(t.Context(), v)
				v.Close()
			}
			if err != nil {
				t.Fatalf("cut at %d (%s), mode %d: %v", at, m.what, mode, err)
			}
		}
	}
}

// TestCrash_FileSystem cuts the power under a directory: what was not synced is lost, torn or reordered.
func TestCrash_FileSystem(t *testing.T) {
	t.Parallel()
	stride := 9
	if soak() > 0 {
		stride = 1
	}
	variants := crashfs.Variants(1)
	for at := 8; ; at += stride {
		disk := crashfs.New()
		store, err := fs.Open("", fs.Options{System: disk})
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(at, cutAfter)
		m.store = store
		first := 0 // step of the disk at which the change begins that is cut
		m.cutting = func() { first = disk.Len() }
		err = m.history(t.Context())
		if !m.off {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		step := first + (disk.Len()-first)*(at%4)/3
		if at%4 == 3 {
			step = disk.Len()
		}
		v := variants[at%len(variants)]
		if m.store, err = fs.Open("", fs.Options{System: disk.State(step, v)}); err != nil {
			t.Fatal(err)
		}
		vault, err := m.restart(t.Context())
		if err == nil {
			err = m.inspect(t.Context(), vault)
			vault.Close()
		}
		if err != nil {
			t.Fatalf("cut at %d (%s), disk step %d of %d to %d, %+v: %v", at, m.what, step, first, disk.Len(), v, err)
		}
	}
}
