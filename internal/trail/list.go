package trail

import (
	"context"
	"fmt"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
)

// maxPage is the size of the records after which a page ends, in bytes; a page has one record at least.
const maxPage = 4 << 20

// Routes registers the operations.
func (s *Service) Routes(own *restjson.Router) {
	restjson.Handle(own, lockfastapi.ListTrailEvents, s.ListTrailEvents,
		func(caller.Caller, *lockfastapi.ListTrailEventsInput) []restjson.Access {
			return caller.OnAll("lockfast:ListTrailEvents")
		})
}

// ListTrailEvents lists the recorded calls of the caller's account, newest first. The first page has every call that this
// server answered before.
func (s *Service) ListTrailEvents(ctx context.Context, in *lockfastapi.ListTrailEventsInput) (*lockfastapi.ListTrailEventsOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, lockfastapi.ListTrailEvents, in)
	if err != nil {
		return nil, err
	}
	if in.StartTime != nil && in.EndTime != nil && in.EndTime.Before(*in.StartTime) {
		return nil, lockfastapi.InvalidParameterValueExceptionf("EndTime is before StartTime.")
	}
	q, err := newSearch(caller.From(ctx).Account, in, page)
	if err != nil {
		return nil, err
	}
	if page.After == nil {
		s.flush(ctx)
	}
	var found *found
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		found, err = s.find(ctx, tx, q, page.Limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.ListTrailEventsOutput{TrailEvents: []lockfastapi.TrailEvent{}}
	for i := range found.rows {
		e, err := found.rows[i].event()
		if err != nil {
			return nil, err
		}
		out.TrailEvents = append(out.TrailEvents, e)
	}
	if found.next != nil {
		out.NextToken = page.Next(found.next.token()...)
	}
	return out, nil
}

// found is a page. It may be short, even empty, and not be the last.
type found struct {
	rows []row
	next *position // after which the next page begins; nil if there is none
}

// find merges the changes and the reads that are searched for.
func (s *Service) find(ctx context.Context, tx *meta.Tx, q *search, limit int) (*found, error) {
	var changes []row
	var err error
	if q.changes {
		if changes, err = q.rows(ctx, tx, limit); err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
	}
	reads := &scan{q: q, codec: s.codec, ended: !q.reads, left: s.maxScan}
	f, size := &found{}, 0
	for {
		read, err := reads.peek(ctx, tx)
		if err != nil {
			return nil, fmt.Errorf("list calls: %w", err)
		}
		var next row
		switch {
		case len(changes) > 0 && reads.passed(changes[0].position) && (read == nil || read.before(changes[0].position)):
			next, changes = changes[0], changes[1:]
		case read != nil:
			next = *read
			reads.pop()
		default:
			f.next = reads.stopped
			return f, nil
		}
		if len(f.rows) == limit || size > maxPage {
			f.next = &f.rows[len(f.rows)-1].position
			return f, nil
		}
		size += len(next.record)
		f.rows = append(f.rows, next)
	}
}

// event is the form in which a call is listed.
func (r *row) event() (lockfastapi.TrailEvent, error) {
	rec, err := r.decode()
	if err != nil {
		return lockfastapi.TrailEvent{}, err
	}
	e := lockfastapi.TrailEvent{EventId: r.id, EventTime: meta.FromMicros(r.at), EventSource: rec.EventSource,
		EventName: rec.EventName, ReadOnly: rec.ReadOnly, UserName: optional(rec.UserIdentity.lookupName()),
		AccessKeyId: optional(rec.UserIdentity.AccessKeyID), SourceIpAddress: optional(rec.SourceIPAddress),
		ErrorCode: optional(rec.ErrorCode), TrailRecord: r.record}
	for _, res := range rec.Resources {
		e.ResourceArns = append(e.ResourceArns, res.ARN)
	}
	return e, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
