package trail

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lockfast/lockfast/internal/meta"
)

// Bounds of a scan.
const (
	scanBatch = 8        // segments that one query reads
	maxScan   = 64 << 20 // bytes of records that a page looks through at most, however few calls it finds
)

// scan goes through the reads in segments, newest first. Segments may overlap in time, as every server writes its own, and
// are read by the time of their last call: a read is due when it is not older than the last one of any segment to come.
type scan struct {
	q       *search
	codec   *codec
	waiting []stored  // segments that have been read and not opened
	last    position  // of the segment read last
	begun   bool      // whether one has been
	ended   bool      // whether no more are to be read
	open    []row     // reads in opened segments that may be searched for, oldest first
	left    int       // bytes to look through
	stopped *position // set if the scan ended early: everything before it has been seen
}

// stored is a segment as it is read back, with the position of its last call.
type stored struct {
	position
	data []byte
}

// peek returns the next read; nil if there is none, or none before the scan stopped.
func (s *scan) peek(ctx context.Context, tx *meta.Tx) (*row, error) {
	for s.stopped == nil {
		if len(s.waiting) == 0 && !s.ended {
			if err := s.fetch(ctx, tx); err != nil {
				return nil, err
			}
		}
		n := len(s.open)
		switch {
		case len(s.waiting) > 0 && (n == 0 || s.open[n-1].at <= s.waiting[0].at):
			if s.stop(s.waiting[0].at) {
				return nil, nil
			}
			if err := s.openNext(); err != nil {
				return nil, err
			}
			continue
		case n == 0:
			return nil, nil
		}
		rec, err := s.open[n-1].decode()
		if err != nil {
			return nil, err
		}
		if s.q.matches(rec) {
			return &s.open[n-1], nil
		}
		s.pop()
	}
	return nil, nil
}

// pop goes past the read that peek returns.
func (s *scan) pop() { s.open = s.open[:len(s.open)-1] }

// passed reports whether all reads that come before a position have been seen or are about to be.
func (s *scan) passed(p position) bool { return s.stopped == nil || s.stopped.before(p) }

// stop ends the scan if it has gone on for long, provided that the next page gets on: next is the time of the last call
// that has not been seen.
func (s *scan) stop(next int64) bool {
	end := position{at: next + 1} // has no id, so that no call comes between it and the time
	if s.left > 0 || s.q.after != nil && !end.before(*s.q.after) {
		return false
	}
	s.stopped = &end
	return true
}

func (s *scan) openNext() error {
	g := s.waiting[0]
	s.waiting = s.waiting[1:]
	rows, size, err := s.codec.rows(g.data, s.q)
	if err != nil {
		return fmt.Errorf("read segment %s: %w", g.id, err)
	}
	s.left -= size
	if len(rows) > 0 {
		s.open = append(s.open, rows...)
		slices.SortFunc(s.open, func(a, b row) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	}
	return nil
}

// fetch reads the next segments that may hold what is searched for.
func (s *scan) fetch(ctx context.Context, tx *meta.Tx) error {
	text, args := s.query()
	rows, err := tx.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var g stored
		if err := rows.Scan(&g.at, &g.id, &g.data); err != nil {
			return err
		}
		s.waiting = append(s.waiting, g)
		s.last, s.begun = g.position, true
	}
	s.ended = len(s.waiting) < scanBatch
	return rows.Err()
}

func (s *scan) query() (text string, args []any) {
	var c conditions
	c.add("account = ?", s.q.account)
	if s.q.in.StartTime != nil {
		c.add("last_at >= ?", s.q.oldest)
	}
	newest := s.q.newest
	if s.q.after != nil {
		newest = min(newest, s.q.after.at)
	}
	if s.q.in.EndTime != nil || s.q.after != nil {
		c.add("last_at <= ? AND first_at <= ?", newest+maxSpan, newest)
	}
	if s.q.errorsOnly() {
		c.add("failed > 0")
	}
	if s.begun {
		c.add("(last_at, id) < (?, ?)", s.last.at, s.last.id)
	}
	return "SELECT last_at, id, data FROM trail_segment WHERE " + c.String() + " ORDER BY last_at DESC, id DESC LIMIT ?",
		append(c.args, scanBatch)
}
