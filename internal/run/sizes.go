package run

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/vault"
	"github.com/lockfast/lockfast/repo"
)

// Sizes keeps what recovery points are recorded to take in the store up to date.
type Sizes struct {
	Vaults *vault.Service
	Store  *Store
	Log    *slog.Logger

	mu    sync.Mutex
	dirty map[string]bool      // vaults to compute anew; guarded by mu
	rest  map[string]time.Time // when a vault may be computed again; guarded by mu
}

// sizesShare is the share of time, one part in so many, that goes into computing the sizes of one vault.
const sizesShare = 20

// Changed says that recovery points of a vault came or went. It computes their sizes unless that was done just before;
// then [Sizes.Run] does it later, once for a burst of changes.
func (s *Sizes) Changed(ctx context.Context, vaultUUID string) {
	s.mu.Lock()
	if s.dirty == nil {
		s.dirty, s.rest = map[string]bool{}, map[string]time.Time{}
	}
	later := time.Now().Before(s.rest[vaultUUID])
	s.dirty[vaultUUID] = true
	s.mu.Unlock()
	if !later {
		s.compute(ctx, vaultUUID)
	}
}

// Run computes what is due until ctx is done.
func (s *Sizes) Run(ctx context.Context) error {
	for wait(ctx, time.Second) {
		for _, id := range s.due() {
			s.compute(ctx, id)
		}
	}
	return nil
}

func (s *Sizes) due() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.dirty {
		if !time.Now().Before(s.rest[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *Sizes) compute(ctx context.Context, vaultUUID string) {
	start := time.Now()
	s.mu.Lock()
	delete(s.dirty, vaultUUID)
	s.rest[vaultUUID] = start.Add(time.Hour) // nobody else computes it meanwhile
	s.mu.Unlock()
	err := s.record(ctx, vaultUUID)
	s.mu.Lock()
	s.rest[vaultUUID] = time.Now().Add(sizesShare * time.Since(start))
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "sizes of recovery points not computed", "vault", vaultUUID, "error", err)
	}
}

func (s *Sizes) record(ctx context.Context, vaultUUID string) error {
	v, err := s.Store.Existing(ctx, vaultUUID)
	if destroyed(err) {
		return nil
	}
	if err != nil || v == nil {
		return err
	}
	sizes, err := v.PointSizes(ctx)
	if err != nil {
		return err
	}
	return s.Vaults.SetSizes(ctx, vaultUUID, sizes)
}

// Usage measures a vault, for [vault.Store].
func (s *Store) Usage(ctx context.Context, vaultUUID string) (repo.Usage, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Usage{}, err
	}
	return v.Usage(ctx)
}

// Coverage implements [vault.Store].
func (s *Store) Coverage(ctx context.Context, vaultUUID string, within time.Duration) (repo.Coverage, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Coverage{}, err
	}
	return v.Coverage(ctx, within)
}
