package repo

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockfast/lockfast/blob"
)

// retentions is until when packs are retained that somebody asked about. A retention is never shortened, so that nothing is
// asked twice while it lasts.
type retentions struct {
	mu    sync.Mutex
	until map[ID]time.Time // guarded by mu; zero = not retained
	none  bool             // guarded by mu: the place where the store lies retains nothing, or does not tell
}

// retentionsAtOnce is how many packs are asked about at once.
const retentionsAtOnce = 16

// retainedUntil returns until when the store retains each of some packs; those are left out that it does not retain any more.
func (v *Vault) retainedUntil(ctx context.Context, packs []packRow) (map[ID]time.Time, error) {
	out := map[ID]time.Time{}
	store, ok := blob.AsRetainer(v.store)
	if !ok {
		return out, nil
	}
	v.retentions.mu.Lock()
	none := v.retentions.none
	v.retentions.mu.Unlock()
	if none {
		return out, nil
	}
	now := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(retentionsAtOnce)
	for _, x := range packs {
		v.retentions.mu.Lock()
		until, known := v.retentions.until[x.id]
		v.retentions.mu.Unlock()
		if known {
			if until.After(now) {
				out[x.id] = until
			}
			continue
		}
		g.Go(func() error { return v.askRetention(gctx, store, x) })
	}
	err := g.Wait()
	v.retentions.mu.Lock()
	defer v.retentions.mu.Unlock()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, blob.ErrPermission) {
		v.retentions.none = true
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, x := range packs {
		if until := v.retentions.until[x.id]; until.After(now) {
			out[x.id] = until
		}
	}
	return out, nil
}

func (v *Vault) askRetention(ctx context.Context, store blob.Retainer, x packRow) error {
	until, err := store.RetainedUntil(ctx, packName(x.kind, x.id))
	if errors.Is(err, blob.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	v.retentions.mu.Lock()
	defer v.retentions.mu.Unlock()
	if v.retentions.until == nil {
		v.retentions.until = map[ID]time.Time{}
	}
	v.retentions.until[x.id] = until
	return nil
}
