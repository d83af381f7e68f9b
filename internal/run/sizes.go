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
	// Every is the least time between two computations for a vault; a burst of changes costs one.
	Every time.Duration

	mu    sync.Mutex
	dirty map[string]bool      // vaults to compute anew; guarded by mu
	done  map[string]time.Time // end of the last computation; guarded by mu
}

// Changed says that recovery points of a vault came or went. It computes their sizes unless that was done just before;
// then [Sizes.Run] does it later.
func (s *Sizes) Changed(ctx context.Context, vaultUUID string) {
	s.mu.Lock()
	if s.dirty == nil {
		s.dirty, s.done = map[string]bool{}, map[string]time.Time{}
	}
	later := time.Since(s.done[vaultUUID]) < s.Every
	s.dirty[vaultUUID] = true
	s.mu.Unlock()
	if !later {
		s.compute(ctx, vaultUUID)
	}
}

// Run computes what is due until ctx is done.
func (s *Sizes) Run(ctx context.Context) error {
	for wait(ctx, max(s.Every, time.Second)) {
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
		if time.Since(s.done[id]) >= s.Every {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *Sizes) compute(ctx context.Context, vaultUUID string) {
	s.mu.Lock()
	delete(s.dirty, vaultUUID)
	s.done[vaultUUID] = time.Now() // nobody else computes it meanwhile
	s.mu.Unlock()
	err := s.record(ctx, vaultUUID)
	s.mu.Lock()
	s.done[vaultUUID] = time.Now()
	s.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "sizes of recovery points not computed", "vault", vaultUUID, "error", err)
	}
}

func (s *Sizes) record(ctx context.Context, vaultUUID string) error {
	v, err := s.Store.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return err
	}
	sizes, err := v.PointSizes(ctx)
	if err != nil {
		return err
	}
	return s.Vaults.SetSizes(ctx, vaultUUID, sizes)
}

// Usage measures a vault, for [vault.Meter].
func (s *Store) Usage(ctx context.Context, vaultUUID string) (repo.Usage, error) {
	v, err := s.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.Usage{}, err
	}
	return v.Usage(ctx)
}
