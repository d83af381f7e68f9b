package repo

import (
	"context"
	"fmt"
	"time"
)

// SessionID names a session: 32 lower-case hexadecimal digits drawn by the ledger, never used again. A writer's
// session id becomes the id of its recovery point, so a name under r/ or f/ always tells its session.
type SessionID string

// SessionKind says what a session may do.
type SessionKind uint8

// The kinds of sessions. Their values are stored by ledgers.
const (
	SessionReader    SessionKind = 1 // reads one recovery point
	SessionWriter    SessionKind = 2 // makes one recovery point
	SessionCollector SessionKind = 3 // reclaims space; at most one is active
)

// SessionState says whether a session may still act.
type SessionState uint8

// The states of sessions. Their values are stored by ledgers. A committed session has no row any more.
const (
	SessionActive SessionState = 1
	SessionClosed SessionState = 2 // ended by its owner without a recovery point; what it left is swept
	SessionFenced SessionState = 3 // lost its lease, or was replaced; its owner may still run but can change nothing
)

// SessionOptions describes the session to open.
type SessionOptions struct {
	Kind SessionKind
	Job  string  // of a writer, may be empty; opening fences the active writers of the same job (a restarted worker)
	Pin  PointID // a reader's recovery point, a writer's parent; empty = none
}

// Session is a session as the ledger records it.
type Session struct {
	ID     SessionID
	Kind   SessionKind
	State  SessionState
	Job    string
	Pin    PointID
	Opened uint64        // epoch when it was opened
	Acked  uint64        // epoch it has acknowledged; starts as Opened
	Pins   []byte        // as last given to Acknowledge, nil before
	Lease  time.Duration // how long it lives without Renew or Acknowledge; only Open fills it
}

// ObjectKind says what kind of object of the store a row stands for.
type ObjectKind uint8

// The kinds of objects a ledger knows. Their values are stored by ledgers. Manifests and refsets have no rows:
// their names carry the session's id.
const (
	ObjectData    ObjectKind = 1
	ObjectMeta    ObjectKind = 2
	ObjectSegment ObjectKind = 3
	ObjectCold    ObjectKind = 4 // a cold pack
)

// ObjectState is the life of an object: reserved -> live -> condemned -> retired -> forgotten (no row); a rescue
// leads from condemned back to live, and segments go from live to retired directly.
type ObjectState uint8

// The states of objects. Their values are stored by ledgers.
const (
	ObjectReserved  ObjectState = 1 // the name may or may not exist in the store
	ObjectLive      ObjectState = 2 // durable; leaves only through Condemn and Retire
	ObjectCondemned ObjectState = 3 // may not be relied on anew by sessions that acknowledged Object.Epoch
	ObjectRetired   ObjectState = 4 // no longer needed; its slots are where Remap says
	ObjectForgotten ObjectState = 5 // only in an answer of Changes: a retired object that has no row any more
)

// Object is a pack or an index segment as the ledger records it.
type Object struct {
	ID      ID // random, unique, never used again: the name in the store
	Kind    ObjectKind
	State   ObjectState
	Session SessionID // who reserved it
	Size    int64     // bytes; 0 while reserved
	Epoch   uint64    // of the last Condemn or Retire
	Remap   []byte    // of a retired pack: where its live slots went; opaque to the ledger
	// Registered is when a cold pack was registered, by the ledger's clock; cold storage may have a price for leaving it
	// early. Zero for others.
	Registered time.Time `json:",omitzero"`
	// Sum is the SHA-256 of a pack that was put into a store which keeps it, see blob.Summer. Nil for other objects.
	Sum []byte `json:",omitempty"`
}

// PointState is a committed recovery point as the ledger records it.
type PointState struct {
	ID       PointID
	Deleting bool // its deletion has begun; it cannot be opened any more and keeps nothing alive by itself
}

// Retirement retires one object.
type Retirement struct {
	ID    ID
	Remap []byte // nil for a segment or a pack without live slots
}

// Snapshot is one consistent reading of points, sessions and the head of the journal.
type Snapshot struct {
	Epoch    uint64
	Points   []PointState // ascending by id
	Sessions []Session    // all states, ascending by id
	Journal  JournalHead
}

// A Ledger is the transactional record of one vault: which sessions run, which packs and segments exist, which
// recovery points are committed. It decides; the object store only holds bytes.
//
// Every method is one transaction that first locks the vault's row, so that the methods have one order, is durable
// when it returns, and may be called concurrently from any number of goroutines, processes and nodes. A method that
// returns an error other than the sentinels named has changed nothing or everything; repeating it is safe: each
// says what a repetition does. A cancelled context counts as such an error.
//
// Safety never rests on a clock. Leases, by the ledger's own clock, only decide when a silent session is fenced; a
// fenced session can change nothing any more, however late its owner wakes. Methods that take a session return
// [ErrFenced] when it is not active.
type Ledger interface {
	Sessions
	Objects
	Points
	Collector
	Findings
	Rounds

	// Identity is drawn when the vault's rows are created and never changes. The vault's claim object carries it,
	// so that two services with different databases cannot work on one vault.
	Identity(ctx context.Context) ([16]byte, error)
	// Claimed returns the number of the claim that NoteClaim was told of last, 0 if there is none. It tells who a claim
	// that is damaged belongs to.
	Claimed(ctx context.Context) (uint64, error)
	// NoteClaim notes the number of a claim that was read and carries the identity. It is durable.
	NoteClaim(ctx context.Context, n uint64) error
}

// Sessions is the part of a [Ledger] that keeps sessions.
type Sessions interface {
	// Open opens a session with Opened = Acked = the current epoch. With a Pin it returns [ErrNotFound] unless that
	// point is committed and not being deleted; from then on everything the point's refset names is pinned until
	// the session ends, even if the point is deleted meanwhile. A second active collector is refused with
	// [ErrBusy], after sessions whose lease ran out are fenced. A repetition opens another session.
	Open(ctx context.Context, o SessionOptions) (Session, error)

	// Renew extends the lease and returns the current epoch. It acknowledges nothing. ErrFenced.
	Renew(ctx context.Context, id SessionID) (epoch uint64, err error)

	// Acknowledge replaces the session's pins, sets Acked to the current epoch, extends the lease and returns that
	// epoch. The caller has stopped relying on existing slots before the call and goes on only after it has also
	// read Changes. pins is a refset of all slots of others that the session relies on, beyond its Pin; the
	// ledger copies it. ErrFenced.
	Acknowledge(ctx context.Context, id SessionID, pins []byte) (epoch uint64, err error)

	// Close ends a session without a recovery point and drops its pins. A reader's row goes at once, a writer's or
	// collector's stays as SessionClosed until Forget, because objects of its names may exist. The owner has no
	// writes in flight any more. Closing what is not active or unknown does nothing.
	Close(ctx context.Context, id SessionID) error

	// Fence fences every session whose lease has run out and returns how many. Pins of fenced sessions count no
	// more.
	Fence(ctx context.Context) (int, error)
}

// Objects is the part of a [Ledger] that keeps packs and index segments.
type Objects interface {
	// Reserve notes names that the caller has drawn at random; only ID and Kind of each are read. Nothing is written to
	// the store under a name that is not reserved. A name that another session reserved, or that is not reserved any
	// more, is refused, changing nothing; a repetition does nothing. What is left over is dropped by Commit, or by
	// Forget. ErrFenced.
	Reserve(ctx context.Context, id SessionID, objects []Object) error

	// Register makes reserved objects of the session live; they are durable in the store. Only ID, Size and Sum
	// of each are read. From now on they leave only by Condemn and Retire, whatever becomes of the session. What is
	// live already stays as it is. ErrFenced; [ErrNotFound] for a name the session never reserved, changing nothing.
	Register(ctx context.Context, id SessionID, objects []Object) error

	// Changes returns every object whose row was made or changed after revision since, ascending by id, and
	// the revision to ask for next time. Revision 0 is the beginning: all rows. Retired objects that were forgotten
	// after since are reported as ObjectForgotten, unless since is 0, so that whoever knew an object learns that it is
	// gone; [ErrStale] when the ledger does not remember them all any more. Other rows go without a report.
	Changes(ctx context.Context, since uint64) ([]Object, uint64, error)
}

// Points is the part of a [Ledger] that keeps recovery points.
type Points interface {
	// Announce appends to the journal that a writer is about to write the manifest of its recovery point, and returns the
	// head, which the manifest is to carry. A repetition appends another entry. ErrFenced.
	Announce(ctx context.Context, id SessionID) (JournalHead, error)

	// Journal returns entries of the journal from a number on, ascending by number, at most limit. Those that are there
	// never change and never go.
	Journal(ctx context.Context, from uint64, limit int) ([]JournalEntry, error)

	// Commit makes p.Point a recovery point and ends its session: it drops the session's row and the names it
	// reserved and never registered, and appends to the journal. ErrFenced, also when a pack of p.Packs is not live, condemned or retired with
	// a remap, which the protocol excludes. After a commit whose answer was lost, a repetition finds the point
	// committed and returns nil.
	Commit(ctx context.Context, p Prepared) error

	// Delete marks the point as being deleted. Repeating it does nothing; [ErrNotFound] when there is none.
	Delete(ctx context.Context, id PointID) error

	// Remove drops the point's row, whose manifest is gone from the store, and appends to the journal. Removing what is absent does nothing.
	Remove(ctx context.Context, id PointID) error

	// Ended returns those of the ids, in any order, that were of recovery points or of writers and are over: points that
	// were removed, and writers that were forgotten. A ledger remembers them for at least 90 days, so that what comes to
	// the store late, of somebody who was fenced, is not taken for a recovery point that the ledger has lost.
	Ended(ctx context.Context, ids []PointID) ([]PointID, error)

	// Snapshot reads points, sessions and the head of the journal in one transaction.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Collector is the part of a [Ledger] that reclaim uses. All methods but Waiting demand an active collector session
// and return [ErrFenced] without one.
type Collector interface {
	// Condemn raises the epoch by one and condemns those of the packs that are live, at the new epoch, which it
	// returns. Packs condemned before stay so, at the new epoch. Retired and unknown ids are ignored.
	Condemn(ctx context.Context, id SessionID, packs []ID) (epoch uint64, err error)

	// Waiting fences sessions whose lease has run out and returns the active sessions, other than collectors, that
	// have not acknowledged epoch.
	Waiting(ctx context.Context, epoch uint64) ([]Session, error)

	// Rescue makes condemned packs live again. Others are ignored.
	Rescue(ctx context.Context, id SessionID, packs []ID) error

	// Retire raises the epoch by one and retires condemned packs and live segments at the new epoch. All or none:
	// [ErrNotFound] when one is in another state, except that retired ones stay as they are.
	Retire(ctx context.Context, id SessionID, objects []Retirement) error

	// Forget drops the rows of retired objects, which Changes tells, whose bytes are gone and which no refset names any more; of the
	// objects that the closed or fenced sessions given have reserved and never registered; and of these sessions.
	// Objects in another state and active sessions are ignored. A ledger whose fenced sessions may have living
	// owners keeps their rows and reserved names for some days, so that what they write late is recognised.
	Forget(ctx context.Context, id SessionID, objects []ID, sessions []SessionID) error
}

// DamageRecord is damage that was found in an object of the vault and that nothing has mended since.
type DamageRecord struct {
	Object string    // name in the store; with Slot, the key of the record
	Pack   ID        // of a pack; zero for any other object
	Slot   int       // of the pack; [WholeObject] when all of it is meant
	Reason string    // what is wrong, for the operator
	Found  time.Time // when it was first recorded, by the ledger's clock; only Damages fills it
	Seen   time.Time `json:",omitzero"` // the same of when it was last recorded; zero if that was before this was kept
}

// WholeObject is the slot of a [DamageRecord] about a whole object.
const WholeObject = -1

// Verification says when a pack was last found sound by checks of a level.
type Verification struct {
	Pack  ID
	Level int       // of that check, see [CheckOptions]
	At    time.Time // when, by the ledger's clock; only Verifications fills it
}

// Findings is the part of a [Ledger] that keeps what checks found. None of its methods needs a session, because they
// change neither what is needed nor what is there: a record of damage only keeps new recovery points from relying on a
// slot.
type Findings interface {
	// RecordDamage adds records. One that is there already keeps its time and reason, and was seen now. It raises the
	// revision of Changes if it added any, so that every process hears of it.
	RecordDamage(ctx context.Context, damages []DamageRecord) error

	// Damages returns all records, ascending by object and slot. Those of packs that were forgotten are gone.
	Damages(ctx context.Context) ([]DamageRecord, error)

	// ClearDamage drops the records with the given objects and slots, and raises the revision of Changes if there were
	// any. Dropping what is absent does nothing.
	ClearDamage(ctx context.Context, damages []DamageRecord) error

	// RecordVerified notes that packs were found sound at a level, now. Each level has a note of its own; the note of
	// this level is replaced. Unknown packs are ignored.
	RecordVerified(ctx context.Context, level int, packs []ID) error

	// Verifications returns the notes of packs that are not retired, ascending by pack and level, and the present time
	// by the ledger's clock.
	Verifications(ctx context.Context) ([]Verification, time.Time, error)
}

// Round is how far a look at all objects of a vault is, which is made once in a while by whoever has the time, see
// [Vault.Round]. The zero value is that of a vault at which nobody has looked yet.
type Round struct {
	Began time.Time // by the ledger's clock
	Place string    // what was looked at last, in an order that is for those who look to know; empty at first
	Over  bool      // all was looked at
	// Holder, drawn at random by whoever goes on with it, keeps others from doing the same until a time. Nothing rests on
	// that: where two go on with a round, some objects are looked at twice.
	Holder ID
	Until  time.Time
}

// Taken returns the round that a holder goes on with now, or begins if the last one is over and began at least every ago.
// It is false if there is nothing to do, or somebody else does it.
func (r Round) Taken(holder ID, now time.Time, every, hold time.Duration) (Round, bool) {
	switch {
	case r.Holder != holder && now.Before(r.Until):
		return r, false
	case r.Over && now.Sub(r.Began) < every:
		return r, false
	case r.Over || r.Began.IsZero():
		r = Round{Began: now}
	}
	r.Holder, r.Until = holder, now.Add(hold)
	return r, true
}

// Noted returns the round as its holder notes it, and holds it for a time from now on; 0 lets it go. The error is [ErrFenced]
// if somebody else has it.
func (r Round) Noted(by Round, now time.Time, hold time.Duration) (Round, error) {
	if r.Holder != by.Holder {
		return r, fmt.Errorf("note a round: %w", ErrFenced)
	}
	r.Place, r.Over, r.Until = by.Place, by.Over, time.Time{}
	if hold > 0 {
		r.Until = now.Add(hold)
	}
	return r, nil
}

// Rounds is the part of a [Ledger] by which processes share a look at all objects. Its methods need no session.
type Rounds interface {
	// TakeRound takes the round of the vault for a holder, see [Round.Taken]. A repetition finds it taken by the same.
	TakeRound(ctx context.Context, holder ID, every, hold time.Duration) (Round, bool, error)

	// NoteRound notes how far r.Holder is with the round that it has taken, see [Round.Noted]. ErrFenced when somebody else
	// has taken it meanwhile; nothing is changed then.
	NoteRound(ctx context.Context, r Round, hold time.Duration) error
}
