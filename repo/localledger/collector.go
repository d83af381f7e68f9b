package localledger

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/repo"
)

// Condemn implements [repo.Collector].
func (l *Ledger) Condemn(ctx context.Context, id repo.SessionID, packs []repo.ID) (uint64, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	if err := l.collector(id); err != nil {
		return 0, err
	}
	c := change{Epoch: l.rows.epoch + 1}
	for _, id := range packs {
		o, ok := l.rows.objects[id]
		if ok && (o.State == repo.ObjectLive || o.State == repo.ObjectCondemned) && o.Kind != repo.ObjectSegment {
			o.State, o.Epoch = repo.ObjectCondemned, c.Epoch
			c.Objects = append(c.Objects, o.Object)
		}
	}
	return c.Epoch, l.do(c)
}

// Waiting implements [repo.Collector].
func (l *Ledger) Waiting(ctx context.Context, epoch uint64) ([]repo.Session, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := l.fence(); err != nil {
		return nil, err
	}
	var out []repo.Session
	for _, id := range sortedKeys(l.rows.sessions) {
		s := l.rows.sessions[id]
		if s.State == repo.SessionActive && s.Kind != repo.SessionCollector && s.Acked < epoch {
			out = append(out, s)
		}
	}
	return out, nil
}

// Rescue implements [repo.Collector].
func (l *Ledger) Rescue(ctx context.Context, id repo.SessionID, packs []repo.ID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.collector(id); err != nil {
		return err
	}
	var c change
	for _, id := range packs {
		if o, ok := l.rows.objects[id]; ok && o.State == repo.ObjectCondemned {
			o.State = repo.ObjectLive
			c.Objects = append(c.Objects, o.Object)
		}
	}
	return l.do(c)
}

// Retire implements [repo.Collector].
func (l *Ledger) Retire(ctx context.Context, id repo.SessionID, objects []repo.Retirement) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.collector(id); err != nil {
		return err
	}
	c := change{Epoch: l.rows.epoch + 1}
	for _, r := range objects {
		o, ok := l.rows.objects[r.ID]
		if ok && o.State == repo.ObjectRetired {
			continue
		}
		condemned := o.State == repo.ObjectCondemned || o.Kind == repo.ObjectSegment && o.State == repo.ObjectLive
		if !ok || !condemned {
			return fmt.Errorf("object %s is not condemned: %w", r.ID, repo.ErrNotFound)
		}
		o.State, o.Epoch, o.Remap = repo.ObjectRetired, c.Epoch, append([]byte(nil), r.Remap...)
		c.Objects = append(c.Objects, o.Object)
	}
	return l.do(c)
}

// Forget implements [repo.Collector]. Owners of fenced sessions are dead, or know of it, in a single process; so their
// rows go at once.
func (l *Ledger) Forget(ctx context.Context, id repo.SessionID, objects []repo.ID, sessions []repo.SessionID) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.collector(id); err != nil {
		return err
	}
	var c change
	for _, id := range objects {
		if o, ok := l.rows.objects[id]; ok && o.State == repo.ObjectRetired {
			c.GoneObjects = append(c.GoneObjects, id)
		}
	}
	ended := map[repo.SessionID]bool{}
	for _, id := range sessions {
		if s, ok := l.rows.sessions[id]; ok && s.State != repo.SessionActive {
			ended[id] = true
			c.EndedSessions = append(c.EndedSessions, id)
			if s.Kind == repo.SessionWriter {
				c.Ended = append(c.Ended, repo.PointID(id))
			}
		}
	}
	for id, o := range l.rows.objects {
		if ended[o.Session] && o.State == repo.ObjectReserved {
			c.GoneObjects = append(c.GoneObjects, id)
		}
	}
	return l.do(c)
}
