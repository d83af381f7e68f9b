package trail_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/trail"
)

func TestChange_IsRecordedWhenItIsAnswered(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		for n := 1; n <= 3; n++ {
			f.create("AKIAALICE", "aa")
			if got := f.rows("trail_event"); got != n {
				f.Errorf("%d calls are in the database after %d answers", got, n)
			}
		}
	})
}

// gate is a hook of a database that lets transactions go on one by one.
type gate struct {
	closed  atomic.Bool
	held    chan struct{} // gets one for each transaction that stands at the gate
	proceed chan error
	commits atomic.Int32
}

func newGate() *gate { return &gate{held: make(chan struct{}), proceed: make(chan error)} }

func (g *gate) hook(point string) error {
	if point == meta.AfterCommit {
		g.commits.Add(1)
	}
	if point != meta.BeforeCommit || !g.closed.Load() {
		return nil
	}
	g.held <- struct{}{}
	return <-g.proceed
}

func TestChange_IsNotAnsweredBeforeItIsRecorded(t *testing.T) {
	t.Parallel()
	g := newGate()
	f := hooked(t, g.hook)
	g.closed.Store(true)
	answered := make(chan string, 1)
	go func() { answered <- f.create("AKIAALICE", "aa") }()
	<-g.held
	select {
	case <-answered:
		t.Error("the call was answered before its record was committed")
	case <-time.After(50 * time.Millisecond): // long enough for an answer that does not wait
	}
	g.closed.Store(false)
	g.proceed <- nil
	if name := <-answered; name != "" {
		t.Errorf("CreateBackupVault = %s", name)
	}
}

func TestChanges_ThatComeTogetherShareATransaction(t *testing.T) {
	t.Parallel()
	g := newGate()
	f := hooked(t, g.hook)
	before := g.commits.Load()
	g.closed.Store(true)
	const calls = 20
	var wg sync.WaitGroup
	wg.Go(func() { f.create("AKIAALICE", "aa") })
	<-g.held
	for range calls - 1 {
		wg.Go(func() { f.create("AKIAALICE", "aa") })
	}
	await(t, "all others wait", func() bool {
		waiting, _ := f.trail.Waiting()
		return waiting == calls-1
	})
	g.closed.Store(false)
	g.proceed <- nil
	wg.Wait()
	if got := g.commits.Load() - before; got != 2 {
		t.Errorf("%d calls took %d transactions, want 2", calls, got)
	}
	if got := f.rows("trail_event"); got != calls {
		t.Errorf("%d calls are recorded, want %d", got, calls)
	}
}

func TestChange_ThatCannotBeRecordedIsAnsweredAsDone(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	f := hooked(t, func(string) error {
		if broken.Load() {
			return errors.New("disk is full")
		}
		return nil
	})
	broken.Store(true)
	if name := f.create("AKIAALICE", "aa"); name != "" {
		t.Errorf("CreateBackupVault = %s, want success", name)
	}
	broken.Store(false)
	if got := f.metric("lockfast_trail_lost_total", "write"); got != 1 {
		t.Errorf("lost = %d, want 1", got)
	}
	if log := f.logged(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "operation=CreateBackupVault") {
		t.Errorf("the loss is not in the log: %s", log)
	}
	f.create("AKIAALICE", "bb")
	if got := f.rows("trail_event"); got != 1 {
		t.Errorf("%d calls are recorded after the fault, want 1", got)
	}
}

func TestChanges_OneThatFailsDoesNotTakeOthersWithIt(t *testing.T) {
	t.Parallel()
	g := newGate()
	f := hooked(t, g.hook)
	g.closed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { f.create("AKIAALICE", "aa") })
	<-g.held
	for _, name := range []string{"bb", "cc"} {
		wg.Go(func() { f.create("AKIAALICE", name) })
	}
	await(t, "both others wait", func() bool {
		waiting, _ := f.trail.Waiting()
		return waiting == 2
	})
	g.proceed <- errors.New("refused") // the first call, alone
	<-g.held
	g.closed.Store(false)
	g.proceed <- errors.New("refused") // both others
	wg.Wait()
	lost := f.metric("lockfast_trail_lost_total", "write")
	if got := f.rows("trail_event"); got != 2 || lost != 1 {
		t.Errorf("%d calls are recorded and %d are lost, want 2 and 1", got, lost)
	}
}

func TestRead_NeverWaits(t *testing.T) {
	t.Parallel()
	g := newGate()
	f := hooked(t, g.hook)
	g.closed.Store(true)
	for range 10 {
		if name := f.describe("AKIAALICE", "aa"); name != "" {
			t.Errorf("DescribeBackupVault = %s", name)
		}
	}
	<-g.held // the writer comes by itself
	f.describe("AKIAALICE", "aa")
	g.closed.Store(false)
	g.proceed <- nil
	if got := len(f.list("AKIAALICE", lockfastapi.ListTrailEventsInput{EventName: new("DescribeBackupVault")})); got != 11 {
		t.Errorf("%d reads are listed, want 11", got)
	}
}

func TestRead_IsWrittenWithinASecond(t *testing.T) {
	t.Parallel()
	f := hooked(t, nil)
	f.describe("AKIAALICE", "aa")
	start := time.Now()
	await(t, "the read is written", func() bool { return f.reads() == 1 })
	if took := time.Since(start); took > 5*time.Second { // a second, and room for a busy machine
		t.Errorf("the read was written after %s", took)
	}
}

func TestClose_WritesTheReadsThatWait(t *testing.T) {
	t.Parallel()
	each(t, func(f *fixture) {
		const reads = 6000 // more than a batch
		for range reads {
			f.trail.Record(f.Context(), read("aa", time.Now()))
		}
		if err := f.trail.Close(); err != nil {
			f.Fatal(err)
		}
		if got := f.reads(); got != reads {
			f.Errorf("%d reads are in the database, want %d", got, reads)
		}
		if got := f.rows("trail_segment"); got > reads/100 {
			f.Errorf("%d reads take %d rows", reads, got)
		}
		f.trail.Record(f.Context(), read("aa", time.Now()))
		f.trail.Record(f.Context(), change(read("aa", time.Now())))
		if r, w := f.metric("lockfast_trail_lost_total", "read"), f.metric("lockfast_trail_lost_total", "write"); r != 1 || w != 1 {
			f.Errorf("%d reads and %d changes are lost after the end, want one each", r, w)
		}
	})
}

func TestReads_ThatDoNotFitAreCounted(t *testing.T) {
	t.Parallel()
	g := newGate()
	f := hooked(t, g.hook)
	g.closed.Store(true)
	f.trail.Record(t.Context(), read("aa", time.Now()))
	<-g.held // the writer is at work with one read, and takes no other
	const more = 100
	for range trail.MaxReads + more {
		f.trail.Record(t.Context(), read("aa", time.Now()))
	}
	if got := f.metric("lockfast_trail_lost_total", "read"); got != more {
		t.Errorf("%d reads are lost, want %d", got, more)
	}
	if _, waiting := f.trail.Waiting(); waiting != trail.MaxReads {
		t.Errorf("%d reads wait, want %d", waiting, trail.MaxReads)
	}
	g.closed.Store(false)
	g.proceed <- nil
}

// read is the call of a read, as the routers hand it over.
func read(vault string, at time.Time) *operation.Call {
	_, c, _ := users{}.Lookup(context.Background(), "AKIAALICE", "")
	return &operation.Call{
		Service: backupapi.Service, Operation: backupapi.DescribeBackupVault.Descriptor, Verified: true, Caller: c,
		Input: &backupapi.DescribeBackupVaultInput{BackupVaultName: vault}, Status: 200, Start: at,
		Asked: caller.On("backup:DescribeBackupVault", "arn:aws:backup:eu-north-1:"+c.Account+":backup-vault:"+vault),
	}
}

// change turns a call into one of an operation that may change something.
func change(c *operation.Call) *operation.Call {
	c.Operation = backupapi.DeleteBackupVault.Descriptor
	c.Input = &backupapi.DeleteBackupVaultInput{BackupVaultName: "aa"}
	return c
}
