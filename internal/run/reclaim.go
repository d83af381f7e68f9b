package run

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// Reclaimer gives back space, one reclaim of a vault at a time.
type Reclaimer struct {
	Store *Store
	Log   *slog.Logger
	// Delay is the time from a deletion to the reclaim that follows it, so that a burst of deletions costs one.
	Delay time.Duration
	// Threshold is the share of dead bytes that a reclaim leaves which nobody asked for.
	Threshold float64
	// Reclaimed, if not nil, is called after a reclaim that nobody asked for has freed space.
	Reclaimed func(ctx context.Context, vaultUUID string)
	// ColdMinimum is how long a cold pack stays at least, by Now, the policy's clock.
	ColdMinimum time.Duration
	Now         func() time.Time // nil = time.Now

	mu   sync.Mutex
	due  map[string]time.Time  // vaults to reclaim in the background; guarded by mu
	busy map[string]chan token // a channel of one token per vault; guarded by mu
}

type token struct{}

// busyRetry is how long to wait for the reclaim of another process.
const busyRetry = time.Second

// Reclaim frees all that can be freed down to a threshold, after a reclaim of the vault that is running.
func (r *Reclaimer) Reclaim(ctx context.Context, vaultUUID string, o repo.ReclaimOptions) (repo.ReclaimReport, error) {
	slot := r.slot(vaultUUID)
	select {
	case slot <- token{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return repo.ReclaimReport{}, ctx.Err()
	}
	v, err := r.Store.Existing(ctx, vaultUUID)
	if err != nil || v == nil {
		return repo.ReclaimReport{}, err
	}
	o.ColdMinimum = r.ColdMinimum
	if r.Now != nil {
		o.Now = r.Now()
	}
	for {
		report, err := v.Reclaim(ctx, o)
		if !errors.Is(err, repo.ErrBusy) || !wait(ctx, busyRetry) {
			return report, err
		}
	}
}

func (r *Reclaimer) slot(vaultUUID string) chan token {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy == nil {
		r.busy = map[string]chan token{}
	}
	if r.busy[vaultUUID] == nil {
		r.busy[vaultUUID] = make(chan token, 1)
	}
	return r.busy[vaultUUID]
}

// Later has [Reclaimer.Run] reclaim a vault after the delay.
func (r *Reclaimer) Later(vaultUUID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due == nil {
		r.due = map[string]time.Time{}
	}
	if _, ok := r.due[vaultUUID]; !ok {
		r.due[vaultUUID] = time.Now().Add(r.Delay)
	}
}

// Run reclaims vaults in the background until ctx is done.
func (r *Reclaimer) Run(ctx context.Context) error {
	for wait(ctx, time.Second) {
		for _, id := range r.take(time.Now()) {
			r.background(ctx, id)
		}
	}
	return nil
}

func (r *Reclaimer) take(now time.Time) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.due {
		if !now.Before(at) {
			ids = append(ids, id)
			delete(r.due, id)
		}
	}
	return ids
}

func (r *Reclaimer) background(ctx context.Context, vaultUUID string) {
	log := r.Log.With("vault", vaultUUID)
	err := guard(ctx, log, func(ctx context.Context) error {
		report, err := r.Reclaim(ctx, vaultUUID, repo.ReclaimOptions{Threshold: r.Threshold})
		if err == nil && report.PacksRemoved+report.ObjectsSwept > 0 {
			log.InfoContext(ctx, "space reclaimed", "bytes_freed", report.BytesRemoved-report.BytesWritten, "packs_removed", report.PacksRemoved)
			if r.Reclaimed != nil {
				r.Reclaimed(ctx, vaultUUID)
			}
		}
		return err
	})
	if err != nil && ctx.Err() == nil && !destroyed(err) {
		log.WarnContext(ctx, "reclaim failed", "error", err)
	}
}
