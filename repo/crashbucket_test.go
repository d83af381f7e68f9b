package repo_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

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
		m.store = s3test.Open(t, l, s3.Options{}) // of the process that comes after
		v, err := m.restart(t.Context())
		if err == nil {
			err = m.inspect(t.Context(), v)
			v.Close()
		}
		if err != nil {
			t.Fatalf("cut at %d (%s), mode %d: %v", at, m.what, m.mode, err)
		}
	}
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
// or answered by halves, and now and then one is never answered. Nothing fails for it but the client that is cut.
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
		m.store = retry.New(s, retry.Options{Attempts: 12, Delay: time.Millisecond, MaxDelay: 20 * time.Millisecond})
	}
	cutClient(t, gateway, 3+int(seed%uint64(stride)), stride, connect, func(m *machine) error { return m.disturbedHistory(t.Context(), from, version) })
	if disturbed < requests/16 {
		t.Errorf("%d of %d requests were disturbed", disturbed, requests)
	}
	t.Logf("%d histories, %d of %d requests disturbed", cuts, disturbed, requests)
}
