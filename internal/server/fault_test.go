package server_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/backup"

	"github.com/lockfast/lockfast/blob/fs/crashfs"
	"github.com/lockfast/lockfast/internal/server"
)

// errFault is the error of a database or disk that fails in a test.
var errFault = errors.New("fault of a test")

// fault is a failure of the database at one of its boundaries or of the disk at one of its steps, counted from the
// beginning of the story.
type fault struct {
	database, disk int  // 0 = never
	lasting        bool // everything fails from then on
}

func (x fault) String() string {
	return fmt.Sprintf("database %d, disk %d, lasting %t", x.database, x.disk, x.lasting)
}

// shortFaults is how many faults of a kind are tried when LOCKFAST_SOAK is not set.
const shortFaults = 3

// TestFault tells the story of [TestCut] to servers whose database or disk fails in the middle, once or for good. The
// server has to live with that until it is stopped; the next one, whose database and disk are well, has to end what was
// begun and keep what was promised. A transaction that fails after its commit is a commit whose answer is lost.
func TestFault(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	healthy := newWorld(t)
	boundaries, steps := healthy.suffer(t, fault{})
	t.Logf("%d boundaries, %d steps of the disk", boundaries, steps)
	var faults []fault
	for _, kind := range []struct {
		n  int64
		of func(int) fault
	}{
		{boundaries, func(n int) fault { return fault{database: n} }},
		{boundaries, func(n int) fault { return fault{database: n, lasting: true} }},
		{steps, func(n int) fault { return fault{disk: n} }},
		{steps, func(n int) fault { return fault{disk: n, lasting: true} }},
	} {
		var all []fault
		for n := range int(kind.n) {
			all = append(all, kind.of(n+1))
		}
		if os.Getenv("LOCKFAST_SOAK") == "" {
			all = spread(all, shortFaults, seed)
		}
		faults = append(faults, all...)
	}
	places := make(chan struct{}, 12) // most of them wait
	t.Run("faults", func(t *testing.T) {
		for i, x := range faults {
			if !strings.HasPrefix(x.String(), os.Getenv("LOCKFAST_CUT")) {
				continue
			}
			t.Run(x.String(), func(t *testing.T) {
				t.Parallel()
				places <- struct{}{}
				defer func() { <-places }()
				w := newWorld(t)
				w.suffer(t, x)
				disk := w.disk
				if x.disk > 0 || x.lasting {
					variants := crashfs.Variants(seed)
					disk = disk.State(disk.Len(), variants[i%len(variants)])
				}
				w.disk.Fail(nil)
				w.reopened(t, options(t, w.dir), disk, w.promises)
			})
		}
	})
}

// suffer tells the story to a server with a fault, and returns how many boundaries and steps of the disk there were.
func (w *world) suffer(t *testing.T, x fault) (boundaries, steps int64) {
	t.Helper()
	var n, m atomic.Int64
	fails := func(count int64, at int) bool {
		hit := at > 0 && count == int64(at)
		if hit {
			w.broken.Store(new(time.Now()))
		}
		return hit || x.lasting && w.broken.Load() != nil
	}
	hook := func(string) error {
		if w.armed.Load() && fails(n.Add(1), x.database) && (x.database > 0 || !x.lasting) {
			return errFault
		}
		return nil
	}
	w.disk.Fail(func(string, string) error {
		if w.armed.Load() && fails(m.Add(1), x.disk) {
			return errFault
		}
		return nil
	})
	o := server.WithRoles(server.WithCuts(options(t, w.dir), hook, w.disk), &w.roles)
	if err := o.Config.Check(); err != nil {
		t.Fatal(err)
	}
	s, err := server.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	f := &fixture{T: t, server: s, options: o}
	f.connect(s.Address().URL, w.dir)
	f.sdk = backup.New(f.sdk.Options(), func(o *backup.Options) { o.Retryer = aws.NopRetryer{} })
	w.armed.Store(true)
	if err := w.story(f); err != nil {
		if w.broken.Load() == nil {
			t.Errorf("story: %v", err)
		}
		t.Logf("story ended: %v", err)
	}
	f.hangUp()
	stop()
	if err := <-done; err != nil {
		t.Logf("Serve = %v", err)
	}
	w.armed.Store(false)
	return n.Load(), m.Load()
}

// spread chooses n of a list, evenly spread but not the same each time.
func spread[T any](all []T, n int, seed uint64) (some []T) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range min(n, len(all)) {
		from, to := i*len(all)/n, (i+1)*len(all)/n
		some = append(some, all[from+rng.IntN(max(1, to-from))])
	}
	return some
}
