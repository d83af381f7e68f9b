package iam

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lockfast/lockfast/internal/meta"
)

const (
	askEvery  = 400 * time.Millisecond // other nodes' changes are known after that
	knownSize = 10_000
)

// what tells the kinds of things apart that are remembered.
type what uint8

const (
	accessKeys what = iota
	users
	roles
	managedPolicies
	sessionPolicies
)

// thing names something that is remembered: an access key by its id, a user by its unique id, a role by its name, a managed
// policy by its ARN, session policies by the session's access key id.
type thing struct {
	what    what
	account string
	name    string
}

// known remembers what was read of identities, compiled, so that a decision reads nothing.
//
// Every change of identities raises the epoch in its own transaction. What was read carries the epoch of the snapshot in
// which it was read, and counts as long as that is the current one. The current one is asked for when the last answer is
// older than askEvery, and after every change that was made here, which [known.expire] follows: so nothing is decided by
// what was changed before on this node, or some time before on another.
type known struct {
	asking sync.Mutex // held while the epoch is read

	mu      sync.RWMutex // guards the rest
	epoch   int64
	asked   time.Time
	expired uint64 // counts calls of expire
	things  map[thing]memory
}

type memory struct {
	epoch int64
	value any
}

// expire makes everything be checked against the database before it is used again.
func (k *known) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = time.Time{}
	k.expired++
}

// find returns something that is remembered. fresh is false if the epoch must be asked for first.
func (k *known) find(t thing, now time.Time) (m memory, found, fresh bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	m, found = k.things[t]
	return m, found && m.epoch >= k.epoch, now.Sub(k.asked) < askEvery
}

// ask reads the current epoch, unless somebody else has just done so.
func (k *known) ask(ctx context.Context, db *meta.DB) error {
	k.asking.Lock()
	defer k.asking.Unlock()
	now := time.Now()
	k.mu.RLock()
	fresh, expired := now.Sub(k.asked) < askEvery, k.expired
	k.mu.RUnlock()
	if fresh {
		return nil
	}
	var epoch int64
	err := db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		epoch, err = epochTx(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("read epoch of identities: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch = max(k.epoch, epoch)
	if k.expired == expired {
		k.asked = now
	}
	return nil
}

func (k *known) put(t thing, m memory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.things == nil || len(k.things) >= knownSize {
		k.things = map[thing]memory{}
	}
	k.things[t] = m
}

// recall returns something from memory, or reads it.
func recall[T any](ctx context.Context, s *Service, t thing, read func(ctx context.Context, tx *meta.Tx) (T, error)) (T, error) {
	m, found, fresh := s.known.find(t, time.Now())
	if !fresh {
		if err := s.known.ask(ctx, s.db); err != nil {
			var none T
			return none, err
		}
		m, found, _ = s.known.find(t, time.Now())
	}
	if found {
		return m.value.(T), nil
	}
	var (
		value T
		epoch int64
	)
	err := s.db.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		if epoch, err = epochTx(ctx, tx); err != nil {
			return err
		}
		value, err = read(ctx, tx)
		return err
	})
	if err == nil {
		s.known.put(t, memory{epoch, value})
	}
	return value, err
}

func epochTx(ctx context.Context, tx *meta.Tx) (epoch int64, err error) {
	err = tx.QueryRow(ctx, "SELECT epoch FROM iam_epoch WHERE id = 1").Scan(&epoch)
	return epoch, err
}
