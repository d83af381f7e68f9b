package run

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/kms"
	"github.com/lockfast/lockfast/repo"
)

// Reclaimer gives back space, one reclaim of a vault at a time. The ledger knows which vaults are due, so that each server
// on the store reclaims what another one left, if that is not alive any more.
type Reclaimer struct {
	Store *Store
	Log   *slog.Logger
	// Delay is the time from a deletion to the reclaim that follows it, so that a burst of deletions costs one.
	Delay time.Duration
	// Threshold is the share of dead bytes that a reclaim leaves which nobody asked for.
	Threshold float64
	// Reclaimed, if not nil, is called after a reclaim that nobody asked for has freed space, even if ctx is done.
	Reclaimed func(ctx context.Context, vaultUUID string) error
	// ColdMinimum is how long a cold pack stays at least, in real time, whatever the clock of policy says.
	ColdMinimum time.Duration

	mu   sync.Mutex
	next map[string]time.Time  // when a reclaim of a vault finds more to free; guarded by mu
	due  map[string]dueTime    // vaults to reclaim in the background; guarded by mu
	busy map[string]chan token // a channel of one token per vault; guarded by mu
}

// dueTime says when to reclaim a vault, and whether to do so even if the ledger does not ask for it.
type dueTime struct {
	at    time.Time
	asked bool
}

type token struct{}

const (
	// busyRetry is how long to wait for the reclaim of another process.
	busyRetry = time.Second
	// failedRetry is the least time from a reclaim in the background that failed to the next one.
	failedRetry = 30 * time.Second
	// keptRetry is the least time from a reclaim to the next one for what could not be removed yet.
	keptRetry = time.Minute
)

// Reclaim frees all that can be freed down to a threshold, after a reclaim of the vault that is running, here or on another
// server.
func (r *Reclaimer) Reclaim(ctx context.Context, vaultUUID string, o repo.ReclaimOptions) (repo.ReclaimReport, error) {
	for {
		report, err := r.once(ctx, vaultUUID, o)
		if !errors.Is(err, repo.ErrBusy) || !wait(ctx, busyRetry) {
			return report, err
		}
	}
}

// once is Reclaim, but returns [repo.ErrBusy] while another server reclaims the vault.
func (r *Reclaimer) once(ctx context.Context, vaultUUID string, o repo.ReclaimOptions) (report repo.ReclaimReport, err error) {
	slot := r.slot(vaultUUID)
	select {
	case slot <- token{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return report, ctx.Err()
	}
	v, err := r.Store.Existing(ctx, vaultUUID)
	if err != nil {
		return report, err
	}
	o.ColdMinimum = r.ColdMinimum
	due, err := r.Store.o.Ledgers.Due(ctx)
	if err != nil {
		return report, err
	}
	if v != nil {
		report, err = v.Reclaim(ctx, o)
		err = advised(err)
	}
	if err == nil {
		r.remember(vaultUUID, report.Next)
	}
	if freed, ok := due[vaultUUID]; ok && err == nil {
		err = r.Store.o.Ledgers.Reclaimed(ctx, vaultUUID, freed)
	}
	return report, err
}

// remember has a vault reclaimed at a time, when what the store retains or a minimum time keeps of it now is free; zero is
// never. A vault that a server has left behind is due again when that server, or another one, starts.
func (r *Reclaimer) remember(vaultUUID string, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = map[string]time.Time{}
	}
	if next.IsZero() {
		delete(r.next, vaultUUID)
		return
	}
	if soonest := time.Now().Add(keptRetry); next.Before(soonest) {
		next = soonest
	}
	r.next[vaultUUID] = next
}

// ripen makes the vaults due whose remembered time has come, and forgets that.
func (r *Reclaimer) ripen() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.next {
		if now.Before(at) {
			continue
		}
		if r.due == nil {
			r.due = map[string]dueTime{}
		}
		r.due[id] = dueTime{now, true}
		delete(r.next, id)
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
func (r *Reclaimer) Later(vaultUUID string) { r.schedule(vaultUUID, r.Delay, true) }

func (r *Reclaimer) schedule(vaultUUID string, delay time.Duration, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due == nil {
		r.due = map[string]dueTime{}
	}
	d, ok := r.due[vaultUUID]
	if !ok {
		d.at = time.Now().Add(delay)
	}
	d.asked = d.asked || asked
	r.due[vaultUUID] = d
}

// Run reclaims vaults in the background until ctx is done: those given to Later, and those that the ledger says are due.
func (r *Reclaimer) Run(ctx context.Context) error {
	for wait(ctx, time.Second) {
		due, err := r.Store.o.Ledgers.Due(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "vaults not listed for reclaim", "error", err)
		}
		for id := range due {
			r.schedule(id, r.Delay, false)
		}
		r.ripen()
		for id, asked := range r.take(time.Now()) {
			if _, still := due[id]; still || asked {
				r.background(ctx, id)
			}
		}
	}
	return nil
}

func (r *Reclaimer) take(now time.Time) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := map[string]bool{}
	for id, d := range r.due {
		if !now.Before(d.at) {
			asked[id] = d.asked
			delete(r.due, id)
		}
	}
	return asked
}

// unusable reports whether an error says that the key of a vault may not be used.
func unusable(err error) bool {
	_, bad := errors.AsType[*kms.Unusable](err)
	return bad
}

func (r *Reclaimer) background(ctx context.Context, vaultUUID string) {
	log := r.Log.With("vault", vaultUUID)
	err := guard(ctx, log, func(ctx context.Context) error {
		report, err := r.once(ctx, vaultUUID, repo.ReclaimOptions{Threshold: r.Threshold})
		if report.PacksRemoved+report.ObjectsSwept > 0 {
			log.InfoContext(ctx, "space reclaimed", "bytes_freed", report.BytesRemoved-report.BytesWritten, "packs_removed", report.PacksRemoved)
			if r.Reclaimed != nil {
				err = errors.Join(err, r.Reclaimed(ctx, vaultUUID))
			}
		}
		return err
	})
	switch {
	case err == nil, ctx.Err() != nil, destroyed(err):
	case unusable(err): // it stays due
		log.WarnContext(ctx, "reclaim failed", "error", err)
	case errors.Is(err, repo.ErrBusy): // another server is at it; if it dies, the vault stays due
		log.DebugContext(ctx, "vault is reclaimed by another server")
	default:
		log.WarnContext(ctx, "reclaim failed", "error", err)
		r.schedule(vaultUUID, max(r.Delay, failedRetry), true)
	}
}
