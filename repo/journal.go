package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"github.com/lockfast/lockfast/repo/chunk"
)

// The journal of a ledger is a chain of hashes over what became of recovery points (docs/format.md section 13). A writer
// announces its recovery point before it writes the manifest, which carries the head of the journal from then on. So a
// ledger that does not know the head of a manifest is older than the store, or another's, and a recovery point that was
// committed and not removed cannot vanish from both.

// JournalKind says what an entry of the journal is about.
type JournalKind uint8

// The kinds of entries. Their values are stored by ledgers.
const (
	JournalAnnounced JournalKind = 1 // the manifest of a recovery point may be written from now on
	JournalCommitted JournalKind = 2 // a recovery point was committed
	JournalRemoved   JournalKind = 3 // a recovery point was removed
	JournalBegun     JournalKind = 4 // the ledger was made anew from the store; always the first entry
)

// JournalHead is a place in a journal: an entry and, by its hash, all that come before it. Zero is the beginning.
type JournalHead struct {
	Number uint64
	Hash   [32]byte
}

// JournalEntry is an entry of a journal.
type JournalEntry struct {
	Number uint64 // of the entry before, plus one
	Kind   JournalKind
	ID     ID // of the recovery point; of [JournalBegun], the identity of the ledger
	Hash   [32]byte
}

// Next returns the entry that follows a head.
func (h JournalHead) Next(kind JournalKind, id ID) JournalEntry {
	e := JournalEntry{Number: h.Number + 1, Kind: kind, ID: id}
	b := append(make([]byte, 0, 57), h.Hash[:]...)
	b = binary.LittleEndian.AppendUint64(b, e.Number)
	b = append(b, byte(kind))
	e.Hash = blake3.Sum256(append(b, id[:]...))
	return e
}

// NextOf is [JournalHead.Next] for a recovery point.
func (h JournalHead) NextOf(kind JournalKind, point PointID) (JournalEntry, error) {
	id, err := chunk.ParseID(string(point))
	if err != nil {
		return JournalEntry{}, fmt.Errorf("journal of recovery point %q: %w", point, err)
	}
	return h.Next(kind, id), nil
}

// Head returns the head of a journal that ends with an entry.
func (e JournalEntry) Head() JournalHead { return JournalHead{e.Number, e.Hash} }

// BeginJournal returns the first entry of a ledger that was made anew from a store: highest is the highest number of a
// head that a manifest there carries. What those heads were is not known any more.
func BeginJournal(highest uint64, identity [16]byte) JournalEntry {
	return JournalHead{Number: highest}.Next(JournalBegun, identity)
}

const journalHeadSize = 8 + 32

func (h JournalHead) encode() []byte {
	return append(binary.LittleEndian.AppendUint64(make([]byte, 0, journalHeadSize), h.Number), h.Hash[:]...)
}

// journals reports whether the ledger's journal has a head, or begins after it. A manifest that carries none has the zero head.
func (v *Vault) journals(ctx context.Context, h JournalHead) (bool, error) {
	if h == (JournalHead{}) {
		return true, nil
	}
	found, err := v.ledger.Journal(ctx, h.Number, 1)
	if err != nil {
		return false, fmt.Errorf("read journal: %w", err)
	}
	if len(found) == 0 {
		return false, nil
	}
	return found[0].Head() == h || found[0].Number > h.Number && found[0].Kind == JournalBegun, nil
}

// journalBatch is how many entries of a journal are read at once.
const journalBatch = 1000

// readJournal checks the chain of the journal up to a head, and returns the recovery points that were committed and not removed.
func (v *Vault) readJournal(ctx context.Context, end JournalHead) (live map[PointID]bool, err error) {
	live = map[PointID]bool{}
	var last JournalHead
	for last.Number < end.Number {
		some, err := v.ledger.Journal(ctx, last.Number+1, journalBatch)
		if err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		if len(some) == 0 {
			break
		}
		for _, e := range some {
			if last == (JournalHead{}) && e.Kind == JournalBegun && e.Number > 0 {
				last.Number = e.Number - 1
			}
			if e.Number > end.Number || last.Next(e.Kind, e.ID) != e {
				return nil, brokenJournal(last)
			}
			last = e.Head()
			switch id := PointID(e.ID.String()); e.Kind {
			case JournalCommitted:
				live[id] = true
			case JournalRemoved:
				delete(live, id)
			}
			if last.Number == end.Number {
				break // what comes after it was appended meanwhile
			}
		}
	}
	if last != end {
		return nil, brokenJournal(last)
	}
	return live, nil
}

// brokenJournal is the error for a journal that is sound up to a head.
func brokenJournal(last JournalHead) error {
	return fmt.Errorf("entry %d is missing or was changed: %w", last.Number+1, ErrJournal)
}

// journalName is what a check calls the journal among the objects of the store.
const journalName = "journal"

// journal checks the journal, and that no recovery point is missing that it says was committed and not removed.
func (c *check) journal(ctx context.Context) error {
	snapshot, err := c.snapshot(ctx)
	if err != nil || c.v.ledger == nil {
		return err
	}
	live, err := c.v.readJournal(ctx, snapshot.Journal)
	if errors.Is(err, ErrJournal) {
		c.damaged(journalName, err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, p := range snapshot.Points {
		delete(live, p.ID)
	}
	for id := range live {
		c.damaged(manifestName(id), fmt.Errorf("it was committed and not deleted, and is not in the database: %w", ErrJournal)).Points = []PointID{id}
	}
	return nil
}

// journaled checks that the journal has the head that the manifest of a recovery point of the ledger carries.
func (c *check) journaled(ctx context.Context, id PointID, h JournalHead) error {
	if c.v.ledger == nil {
		return nil
	}
	ok, err := c.v.journals(ctx, h)
	if err == nil && !ok {
		c.damaged(manifestName(id), fmt.Errorf("it was made after entry %d, which is not there as it was: %w", h.Number, ErrJournal)).Points = []PointID{id}
	}
	return err
}
