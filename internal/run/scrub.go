package run

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/ledger"
	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// Scrubber looks at all that is stored each day, and reads a share of it again, and something of each new recovery point.
type Scrubber struct {
	Store   *Store
	Vaults  *vault.Service
	Ledgers *ledger.DB
	States  *States
	Metrics *Metrics
	Sizes   *Sizes
	Share   float64 // of a vault's bytes, each day; 0 turns it off
	// ColdShare is the same of its bytes in cold storage.
	ColdShare float64
	Rate      int64 // bytes a second at most; 0 = no limit
	Log       *slog.Logger

	mu    sync.Mutex
	fresh map[string]bool // vaults that got a recovery point; guarded by mu
}

const (
	// scrubEvery is how often the scrubber looks for what is due. What the day allows it reads then.
	scrubEvery = 10 * time.Minute
	// scrubPause is how long a pack, or a part of a round, waits for jobs to end.
	scrubPause = 10 * time.Second
	// scrubTurn is how many packs, or parts of a round, of a vault are read beside jobs before it is the turn of another vault.
	scrubTurn = 60
)

// Committed has something of a new recovery point read back soon.
func (s *Scrubber) Committed(vaultUUID string) {
	if s.Share == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh == nil {
		s.fresh = map[string]bool{}
	}
	s.fresh[vaultUUID] = true
}

// Run scrubs until ctx is done: at leisure while jobs run, but not never, since on a busy server some always do.
func (s *Scrubber) Run(ctx context.Context) error {
	if s.Share == 0 {
		return nil
	}
	next := time.Now().Add(scrubEvery)
	for wait(ctx, time.Second) {
		for _, id := range s.take() {
			s.scrub(ctx, id, (*repo.Vault).Scrub, repo.ScrubOptions{Fresh: true, Yield: s.pace(ctx)})
		}
		if time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(scrubEvery)
		s.look(ctx)
	}
	return nil
}

// look goes on with the round of each vault, and reads what is due of it.
func (s *Scrubber) look(ctx context.Context) {
	all, err := s.Ledgers.Vaults(ctx)
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "vaults not listed for scrub", "error", err)
	}
	for _, id := range all {
		s.scrub(ctx, id, (*repo.Vault).Round, repo.ScrubOptions{Rate: s.Rate, Yield: s.pace(ctx), States: stateKeeper{s.States, id}})
		s.scrub(ctx, id, (*repo.Vault).Scrub, repo.ScrubOptions{Share: s.Share, ColdShare: s.ColdShare, Rate: s.Rate, Yield: s.pace(ctx)})
	}
}

// pace returns what a scrub asks before each pack, and a round before each part: whether to end.
func (s *Scrubber) pace(ctx context.Context) func() bool {
	beside := 0 // read while jobs run
	return func() bool {
		for end := time.Now().Add(scrubPause); s.Metrics.Busy() && time.Now().Before(end) && wait(ctx, time.Second); {
		}
		if s.Metrics.Busy() {
			beside++
		}
		return ctx.Err() != nil || beside > scrubTurn
	}
}

func (s *Scrubber) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Sorted(maps.Keys(s.fresh))
	s.fresh = nil
	return ids
}

// scrub does one thing to a vault, and tells what it found.
func (s *Scrubber) scrub(ctx context.Context, vaultUUID string, do func(*repo.Vault, context.Context, repo.ScrubOptions) (repo.ScrubReport, error),
	o repo.ScrubOptions) {
	log := s.Log.With("vault", vaultUUID)
	err := guard(ctx, log, func(ctx context.Context) error {
		v, err := s.Store.Existing(ctx, vaultUUID)
		if err != nil || v == nil {
			return err
		}
		r, err := do(v, ctx, o)
		if r.Mended > 0 {
			err = errors.Join(err, s.Sizes.Rearranged(ctx, vaultUUID))
		}
		for _, d := range r.Damages {
			log.ErrorContext(ctx, "damage found", "object", d.Object, "recovery_points", len(d.Points), "error", d.Err)
		}
		if len(r.DamagedPoints) == 0 {
			return err
		}
		err = errors.Join(err, mark(ctx, s.Vaults, vaultUUID, r.DamagedPoints, false))
		name := pointNames(ctx, log, s.Vaults, v, vaultUUID)
		for _, p := range r.DamagedPoints {
			log.ErrorContext(ctx, "recovery point is damaged", "recovery_point", name(p.ID), "items", int64(len(p.Paths))+p.More)
		}
		return err
	})
	if err != nil && ctx.Err() == nil && !destroyed(err) {
		log.WarnContext(ctx, "scrub failed", "error", err)
	}
}
