// Package localledger keeps the ledger of one vault in memory or in a file, for one process.
//
// The file is a journal: one record per transaction, synced before the method returns, written anew whenever it is
// opened. It must not be opened by two processes at once; opening it fences every session, because their owners died
// with the process that had it open.
package localledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockfast/lockfast/repo"
)

// DefaultLease is how long a session lives without a sign of its owner.
const DefaultLease = time.Minute

// Options tunes a ledger; the zero value works.
type Options struct {
	Lease time.Duration    // 0 = DefaultLease
	Now   func() time.Time // nil = time.Now
}

// Ledger implements [repo.Ledger].
type Ledger struct {
	lease time.Duration
	now   func() time.Time

	mu      sync.Mutex // every method holds it: the methods have one order
	rows    rows
	expires map[repo.SessionID]time.Time // of active sessions
	journal *journal                     // nil in memory
}

var _ repo.Ledger = (*Ledger)(nil)

// rows is the state of a ledger. A transaction computes a change and applies it.
type rows struct {
	identity [16]byte
	claim    uint64
	epoch    uint64
	revision uint64
	sessions map[repo.SessionID]repo.Session
	objects  map[repo.ID]object
	points   map[repo.PointID]repo.PointState
	history  []repo.JournalEntry // without gaps
	// forgotten are retired objects that have no row any more, as far as this process saw them go; those of revisions
	// up to the horizon are not all there.
	forgotten map[repo.ID]object
	horizon   uint64
	ended     map[repo.PointID]bool // points that were removed, and writers without one that were forgotten
	damages   map[damageKey]repo.DamageRecord
	verified  map[verifiedKey]repo.Verification
	round     repo.Round
}

type object struct {
	repo.Object
	revision uint64 // of its last change
}

// change is what one transaction does to the rows. Sessions, objects and points given replace those of the same id.
type change struct {
	Identity      *[16]byte         `json:",omitempty"`
	Claim         *uint64           `json:",omitempty"`
	Epoch         uint64            `json:",omitempty"` // 0 = as before
	Sessions      []repo.Session    `json:",omitempty"`
	EndedSessions []repo.SessionID  `json:",omitempty"`
	Objects       []repo.Object     `json:",omitempty"`
	GoneObjects   []repo.ID         `json:",omitempty"`
	Points        []repo.PointState `json:",omitempty"`
	RemovedPoints []repo.PointID    `json:",omitempty"`
	Ended         []repo.PointID    `json:",omitempty"` // that have no row any more

	History []repo.JournalEntry `json:",omitempty"` // further ones

	Damages        []repo.DamageRecord `json:",omitempty"`
	ClearedDamages []repo.DamageRecord `json:",omitempty"`
	Verified       []repo.Verification `json:",omitempty"`
	Round          *repo.Round         `json:",omitempty"`

	Quiet bool `json:",omitempty"` // Changes does not tell of it, so it leaves the revision as it is
}

// maxForgotten is how many objects that were forgotten are remembered at most.
const maxForgotten = 100_000

func newRows() rows {
	return rows{
		sessions: map[repo.SessionID]repo.Session{},
		objects:  map[repo.ID]object{},
		points:   map[repo.PointID]repo.PointState{},
		ended:    map[repo.PointID]bool{},
		damages:  map[damageKey]repo.DamageRecord{},
		verified: map[verifiedKey]repo.Verification{},

		forgotten: map[repo.ID]object{},
	}
}

func (r *rows) apply(c change) {
	if c.Identity != nil {
		r.identity = *c.Identity
	}
	if c.Claim != nil {
		r.claim = *c.Claim
	}
	if c.Epoch != 0 {
		r.epoch = c.Epoch
	}
	for _, s := range c.Sessions {
		r.sessions[s.ID] = s
	}
	for _, id := range c.EndedSessions {
		delete(r.sessions, id)
	}
	for _, id := range c.Ended {
		r.ended[id] = true
	}
	if !c.Quiet {
		r.revision++
	}
	for _, o := range c.Objects {
		r.objects[o.ID] = object{o, r.revision}
	}
	for _, id := range c.GoneObjects {
		if o := r.objects[id]; o.State == repo.ObjectRetired {
			o.State, o.Remap = repo.ObjectForgotten, nil
			r.forgotten[id] = object{o.Object, r.revision}
		}
		delete(r.objects, id)
	}
	if len(r.forgotten) > maxForgotten {
		clear(r.forgotten)
		r.horizon = r.revision
	}
	for _, p := range c.Points {
		r.points[p.ID] = p
	}
	for _, id := range c.RemovedPoints {
		delete(r.points, id)
	}
	r.history = append(r.history, c.History...)
	r.applyFindings(c)
}

// head is that of the journal.
func (r *rows) head() repo.JournalHead {
	if len(r.history) == 0 {
		return repo.JournalHead{}
	}
	return r.history[len(r.history)-1].Head()
}

// New returns an empty ledger in memory.
func New(o Options) *Ledger {
	l := newLedger(o)
	l.rows.apply(change{Identity: new(draw16()), Epoch: 1})
	return l
}

func newLedger(o Options) *Ledger {
	l := &Ledger{lease: o.Lease, now: o.Now, rows: newRows(), expires: map[repo.SessionID]time.Time{}}
	if l.lease == 0 {
		l.lease = DefaultLease
	}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

func draw16() (id [16]byte) {
	rand.Read(id[:])
	return id
}

// do makes a change durable, then visible. The caller holds mu.
func (l *Ledger) do(c change) error {
	if l.journal != nil {
		if err := l.journal.append(c); err != nil {
			return fmt.Errorf("write ledger: %w", err)
		}
	}
	l.rows.apply(c)
	for _, s := range c.Sessions {
		if s.State != repo.SessionActive {
			delete(l.expires, s.ID)
		}
	}
	for _, id := range c.EndedSessions {
		delete(l.expires, id)
	}
	return nil
}

// begin locks the ledger for one transaction.
func (l *Ledger) begin(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	return l.mu.Unlock, nil
}

// active returns an active session. The caller holds mu.
func (l *Ledger) active(id repo.SessionID) (repo.Session, error) {
	s, ok := l.rows.sessions[id]
	if !ok || s.State != repo.SessionActive {
		return repo.Session{}, fmt.Errorf("session %s: %w", id, repo.ErrFenced)
	}
	return s, nil
}

func (l *Ledger) collector(id repo.SessionID) error {
	s, err := l.active(id)
	if err != nil {
		return err
	}
	if s.Kind != repo.SessionCollector {
		return fmt.Errorf("session %s is not a collector: %w", id, repo.ErrFenced)
	}
	return nil
}

// FenceAll fences every active session, as opening a file does.
func (l *Ledger) FenceAll() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.do(l.fenceAll())
}

// fenceAll is what becomes of sessions and of a round whose owners are dead. The caller holds mu.
func (l *Ledger) fenceAll() change {
	free := l.rows.round
	free.Until = time.Time{}
	return change{Sessions: l.fenceable(func(repo.Session) bool { return true }), Round: &free}
}

// fenceable returns the active sessions that match, with their state changed to fenced. The caller holds mu.
func (l *Ledger) fenceable(match func(repo.Session) bool) []repo.Session {
	var out []repo.Session
	for _, s := range l.rows.sessions {
		if s.State == repo.SessionActive && match(s) {
			s.State, s.Pins = repo.SessionFenced, nil
			out = append(out, s)
		}
	}
	return out
}

func (l *Ledger) lapsed(s repo.Session) bool { return l.now().After(l.expires[s.ID]) }

// Identity implements [repo.Ledger].
func (l *Ledger) Identity(ctx context.Context) ([16]byte, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return [16]byte{}, err
	}
	defer unlock()
	return l.rows.identity, nil
}

// Claimed implements [repo.Ledger].
func (l *Ledger) Claimed(ctx context.Context) (uint64, error) {
	unlock, err := l.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return l.rows.claim, nil
}

// NoteClaim implements [repo.Ledger].
func (l *Ledger) NoteClaim(ctx context.Context, n uint64) error {
	unlock, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return l.do(change{Claim: &n})
}

func newSessionID() repo.SessionID {
	id := draw16()
	return repo.SessionID(hex.EncodeToString(id[:]))
}

func compareIDs(a, b repo.ID) int { return bytes.Compare(a[:], b[:]) }

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
