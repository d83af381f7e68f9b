package iam

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
)

const (
	keyUseEvery = 15 * time.Minute // AWS is as slow to tell
	keyUseSize  = 10_000
)

// keyUses remembers when the use of an access key was recorded last, so that not every request writes.
type keyUses struct {
	mu sync.Mutex
	at map[string]time.Time // by access key id; guarded by mu
}

// due reports whether a use has to be recorded, and takes it as done.
func (u *keyUses) due(id string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, ok := u.at[id]; ok && now.Sub(last) < keyUseEvery {
		return false
	}
	if u.at == nil || len(u.at) >= keyUseSize {
		u.at = map[string]time.Time{}
	}
	u.at[id] = now
	return true
}

// keyUsed records that a caller uses a permanent access key for a service, see [Service.GetAccessKeyLastUsed]. A use that another
// process recorded is as good: the commands of one host start a server each, and each record waits for a sync.
func (s *Service) keyUsed(ctx context.Context, c caller.Caller, asked []caller.Access) error {
	at := time.Now()
	if c.AccessKeyID == "" || c.Session != nil || !s.keyUses.due(c.AccessKeyID, at) {
		return nil
	}
	service, _, _ := strings.Cut(asked[0].Action, ":")
	err := s.db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE iam_access_key SET used_at = ?, used_region = ?, used_service = ? WHERE id = ? AND used_at < ?",
			meta.Micros(at), c.Region, service, c.AccessKeyID, meta.Micros(at.Add(-keyUseEvery)))
		return err
	})
	if err != nil {
		return fmt.Errorf("record use of access key %s: %w", c.AccessKeyID, err)
	}
	return nil
}
