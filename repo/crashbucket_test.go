package repo_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/blob/fault"
	"github.com/lockfast/lockfast/blob/mem"
	"github.com/lockfast/lockfast/blob/retry"
	"github.com/lockfast/lockfast/blob/s3"
	"github.com/lockfast/lockfast/blob/s3/s3test"
	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/localledger"
)

// cutClient cuts the client of a real server at every stride-th step of a history, from the first on, with the store that connect gives
// to the machine, and lets the last history go through. After each cut another client, of the bare server, inspects what is there.
func cutClient(t *testing.T, g *s3test.Gateway, first, stride int, connect func(m *machine, l s3.Location),
	history func(m *machine) error) {
	t.Helper()
	dry := newMachine(0, cutBefore)
	if err := history(dry); err != nil {
		t.Fatal(err)
	}
	for at, cuts := first, 0; at < dry.steps+stride; at, cuts = at+stride, cuts+1 {
		m := newMachine(at, cutMode(cuts%2)) // before or after
		l := g.Location(t)
		connect(m, l)
		if err := history(m); err != nil && !m.off {
			t.Fatalf("cut at %d, mode %d: history = %v", at, m.mode, err)
		}
		if err := m.inspectBare(t, l); err != nil {
			t.Fatalf("cut at %d (%s), mode %d: %v", at, m.what, m.mode, err)
		}
	}
}

// inspectBare has the process that comes after the one that was cut inspect what is there, on a bare server.
func (m *machine) inspectBare(t *testing.T, l s3.Location) error {
	t.Helper()
	m.store = s3test.Open(t, l, s3.Options{})
	v, err := m.restart(t.Context())
	if err != nil {
		return err
	}
	defer v.Close()
	return m.inspect(t.Context(), v)
}

// TestCrash_Bucket cuts the power of a client of a real server: what it sent last has arrived or not, whole.
func TestCrash_Bucket(t *testing.T) {
	t.Parallel()
	stride := 29
	if soak() > 0 {
		stride = 1
	}
	connect := func(m *machine, l s3.Location) {
		m.store = s3test.Open(t, l, s3.Options{})
	}
	cutClient(t, s3test.Start(t), 3, stride, connect, func(m *machine) error { return m.history(t.Context()) })
}

// disturbedHistory is history, and then a copy from another vault into this one, a restore of it, its deletion and a reclaim.
func (m *machine) disturbedHistory(ctx context.Context, from *repo.Vault, version line) error {
	if err := m.history(ctx); err != nil {
		return err
	}
	v, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	for range 2 {
		id, err := m.copyIn(ctx, from, v, version)
		if err == nil {
			err = verify(ctx, v, id, version.have)
		}
		if err == nil {
			err = m.remove(ctx, v, id)
		}
		if err != nil {
			return err
		}
	}
	if err := m.compare(ctx, v); err != nil {
		return err
	}
	_, err = v.Reclaim(ctx, repo.ReclaimOptions{})
	return err
}

// TestCrash_DisturbedBucket is TestCrash_Bucket with a copy and restores, while one request in eight is lost, refused, cut, slow
// or answered by halves, now and then one is never answered, and lists lack what is new and show what is gone. Nothing fails for
// it but the client that is cut.
func TestCrash_DisturbedBucket(t *testing.T) {
	t.Parallel()
	stride := 47
	if soak() > 0 {
		stride = 1
	}
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	g := newGenerator(seed)
	gateway := s3test.Start(t)
	p := s3test.StartProxy(t, gateway)
	from := create(t, mem.New(), localledger.New(localledger.Options{}), other())
	version := line{have: newGenerator(12).files(20)}
	version.id = mustBackup(t, from, "", version.have, nil)
	requests, disturbed, cuts := 0, 0, 0
	lies := 0
	connect := func(m *machine, l s3.Location) {
		l.Endpoint = p.URL
		p.Disturb(func(*http.Request) s3test.Disturbance { return s3test.None })
		s := s3test.Open(t, l, s3.Options{Stall: 3 * time.Second})
		hung := 0
		if cuts++; cuts%4 == 1 {
			hung = 1 + g.IntN(100)
		}
		rnd := rand.New(rand.NewPCG(seed, uint64(cuts)))
		p.Disturb(func(*http.Request) s3test.Disturbance {
			requests++
			if hung--; hung == 0 {
				return s3test.Hung
			}
			if rnd.IntN(8) > 0 {
				return s3test.None
			}
			disturbed++
			return s3test.Passing(rnd)
		})
		liar := fault.New(retry.New(s, retry.Options{Attempts: 12, Delay: time.Millisecond, MaxDelay: 20 * time.Millisecond}))
		m.store = liar
		var mu sync.Mutex // guards those who say which lists lie
		lists := rand.New(rand.NewPCG(seed, uint64(cuts)+1<<32))
		m.before = func(_ context.Context, what string) {
			if strings.HasPrefix(what, "list ") {
				mu.Lock()
				defer mu.Unlock()
				lie(lists, liar)
				lies++
			}
		}
	}
	cutClient(t, gateway, 3+int(seed%uint64(stride)), stride, connect, func(m *machine) error { return m.disturbedHistory(t.Context(), from, version) })
	if disturbed < requests/16 {
		t.Errorf("%d of %d requests were disturbed", disturbed, requests)
	}
	if lies == 0 {
		t.Error("no list lied")
	}
	t.Logf("%d histories, %d of %d requests disturbed, %d lists lied", cuts, disturbed, requests, lies)
}

// TestCrash_BeforeTheRepetition has a client of a real server die between an answer that was lost and the repetition of what it
// asked, for each change that it makes of the bucket.
func TestCrash_BeforeTheRepetition(t *testing.T) {
	t.Parallel()
	stride := 17
	if soak() > 0 {
		stride = 1
	}
	gateway := s3test.Start(t)
	p := s3test.StartProxy(t, gateway)
	deaths := 0
	for at := 1; ; at += stride {
		m := newMachine(0, cutBefore)
		l := gateway.Location(t)
		through := l
		through.Endpoint = p.URL
		p.Disturb(func(*http.Request) s3test.Disturbance { return s3test.None })
		m.store = retry.New(s3test.Open(t, through, s3.Options{}), retry.Options{Attempts: 3, Delay: time.Millisecond, MaxDelay: time.Millisecond})
		var dead atomic.Bool
		changes := 0
		p.Disturb(func(r *http.Request) s3test.Disturbance {
			if dead.Load() {
				return s3test.Reset
			}
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				return s3test.None
			}
			if changes++; changes < at {
				return s3test.None
			}
			dead.Store(true)
			return s3test.Lost
		})
		m.before = func(context.Context, string) {
			if dead.Load() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.off = true
			}
		}
		err := m.history(t.Context())
		m.before = nil
		if err == nil && !dead.Load() {
			break
		}
		if deaths++; !dead.Load() {
			t.Fatalf("history = %v before change %d", err, at)
		}
		if err := m.inspectBare(t, l); err != nil {
			t.Fatalf("the answer to change %d was lost, and the client died: %v", at, err)
		}
	}
	if deaths < 3 {
		t.Errorf("%d clients died, want more", deaths)
	}
	t.Logf("%d clients died", deaths)
}
