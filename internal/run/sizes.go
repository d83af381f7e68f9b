package run

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// Sizes keeps what vaults and recovery points are recorded to take in the store up to date.
type Sizes struct {
	Vaults *vault.Service
	Store  *Store
	Log    *slog.Logger

	mu    sync.Mutex
	dirty map[string]bool      // vaults to compute anew; guarded by mu
	rest  map[string]time.Time // when a vault may be computed again; guarded by mu
}

const (
	// sizesShare is the share of time, one part in so many, that goes into computing the sizes of one vault.
	sizesShare = 20
	// sizesAtOnce is how many vaults are computed at once, so that a large one does not keep all others waiting.
	sizesAtOnce = 2
	// sizesRetry is how long a vault rests at least that could not be computed.
	sizesRetry = time.Minute
	// countPatience is how long counting a change may take. Workers that are cancelled have a little longer to return.
	countPatience = 8 * time.Second
)

// Changed says that a transaction has changed what a vault holds, and counted that. Nobody waits for sizes: [Sizes.Run] computes
// them soon, once for a burst of changes, or else [Sizes.Settle] when somebody asks for them.
func (s *Sizes) Changed(vaultUUID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dirty == nil {
		s.dirty, s.rest = map[string]bool{}, map[string]time.Time{}
	}
	s.dirty[vaultUUID] = true
}

// Rearranged counts what was changed in a vault without a transaction of its records, also when ctx is done, and is then like
// [Sizes.Changed]. It comes before anything that tells clients that the change has been made.
func (s *Sizes) Rearranged(ctx context.Context, vaultUUID string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countPatience)
	defer cancel()
	defer s.Changed(vaultUUID)
	return s.Vaults.Outdate(ctx, vaultUUID)
}

// Run computes what is due until ctx is done. It begins with vaults, which may have changed since they were recorded.
func (s *Sizes) Run(ctx context.Context, vaults []string) error {
	for _, id := range vaults {
		s.Changed(id)
	}
	g := errgroup.Group{}
	for range sizesAtOnce {
		g.Go(func() error {
			for wait(ctx, time.Second) {
				for _, id := range s.due() {
					if s.claim(id) {
						s.compute(ctx, id)
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// Settle computes vaults now, in a server that does not call Run.
func (s *Sizes) Settle(ctx context.Context, vaults []string) {
	for _, id := range vaults {
		_ = s.try(ctx, id) // it was logged, and stays outdated
	}
}

func (s *Sizes) due() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.dirty {
		ids = append(ids, id)
	}
	return ids
}

// claim reports whether the caller is to compute a vault now; nobody else does meanwhile.
func (s *Sizes) claim(vaultUUID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty[vaultUUID] || time.Now().Before(s.rest[vaultUUID]) {
		return false
	}
	delete(s.dirty, vaultUUID)
	s.rest[vaultUUID] = time.Now().Add(365 * 24 * time.Hour) // until compute says otherwise
	return true
}

// compute computes a vault that the caller has claimed.
func (s *Sizes) compute(ctx context.Context, vaultUUID string) {
	start := time.Now()
	err := s.try(ctx, vaultUUID)
	rest := sizesShare * time.Since(start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.dirty[vaultUUID], rest = true, max(rest, sizesRetry)
	}
	s.rest[vaultUUID] = time.Now().Add(rest)
}

// try computes a vault, and logs why that failed.
func (s *Sizes) try(ctx context.Context, vaultUUID string) error {
	err := guard(ctx, s.Log, func(ctx context.Context) error { return s.record(ctx, vaultUUID) })
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "sizes of recovery points not computed", "vault", vaultUUID, "error", err)
	}
	return err
}

func (s *Sizes) record(ctx context.Context, vaultUUID string) error {
	v, err := s.Vaults.Vault(ctx, vaultUUID)
	if errors.Is(err, vault.ErrNotFound) {
		return nil // another node may be erasing it: it is not to be opened
	}
	if err != nil {
		return err
	}
	held, err := s.Vaults.Held(ctx, vaultUUID)
	if err != nil {
		return err
	}
	m, err := s.Store.Measure(ctx, vaultUUID, held)
	if destroyed(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Vaults.SetMeasure(ctx, v, m)
}

// Measure measures a vault, for [vault.Store].
func (s *Store) Measure(ctx context.Context, vaultUUID string, held func(repo.PointID) bool) (repo.Measure, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Measure{}, err
	}
	return v.Measure(ctx, held)
}

// WouldFree says what deleting recovery points of a vault would free, for [vault.Store].
func (s *Store) WouldFree(ctx context.Context, vaultUUID string, points []repo.PointID) (repo.Freed, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Freed{}, err
	}
	return v.WouldFree(ctx, points)
}

// Coverage implements [vault.Store].
func (s *Store) Coverage(ctx context.Context, vaultUUID string, within time.Duration) (repo.Coverage, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Coverage{}, err
	}
	return v.Coverage(ctx, within)
}
