package trail

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

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
	var found []row
	var more bool
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) (err error) {
		found, more, err = q.run(ctx, tx, page.Limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &lockfastapi.ListTrailEventsOutput{TrailEvents: []lockfastapi.TrailEvent{}}
	for _, r := range found {
		e, err := r.event()
		if err != nil {
			return nil, err
		}
		out.TrailEvents = append(out.TrailEvents, e)
	}
	if more {
		last := found[len(found)-1]
		out.NextToken = page.Next(strconv.FormatInt(last.at, 10), last.id)
	}
	return out, nil
}

// search is a query of the trail. The columns by which it orders are those of the table whose index it uses.
type search struct {
	from       string
	alias      string // of the table that has account, at and id
	conditions []string
	args       []any
}

func newSearch(account string, in *lockfastapi.ListTrailEventsInput, page *restjson.Page) (*search, error) {
	q := &search{from: "trail_event e", alias: "e"}
	if in.ResourceArn != nil {
		q.from = "trail_resource r CROSS JOIN trail_event e" // SQLite keeps this order of a cross join
		q.alias = "r"
		q.add("e.account = r.account AND e.at = r.at AND e.id = r.id")
		q.add("r.arn = ?", *in.ResourceArn)
	}
	q.add(q.alias+".account = ?", account)
	if in.StartTime != nil {
		q.add(q.alias+".at >= ?", meta.Micros(*in.StartTime))
	}
	if in.EndTime != nil {
		q.add(q.alias+".at <= ?", meta.Micros(*in.EndTime))
	}
	for _, equal := range []struct {
		column string
		value  *string
	}{{"event_name", in.EventName}, {"user_name", in.UserName}, {"access_key_id", in.AccessKeyId}} {
		if equal.value != nil {
			q.add("e."+equal.column+" = ?", *equal.value)
		}
	}
	switch {
	case in.ReadOnly != nil && *in.ReadOnly:
		q.add("e.read_only")
	case in.ReadOnly != nil:
		q.add("NOT e.read_only")
	}
	if in.ErrorsOnly != nil && *in.ErrorsOnly {
		q.add("e.error_code <> ''")
	}
	if page.After == nil {
		return q, nil
	}
	at, err := strconv.ParseInt(page.After[0], 10, 64)
	if err != nil {
		return nil, err
	}
	q.add("("+q.alias+".at, "+q.alias+".id) < (?, ?)", at, page.After[1])
	return q, nil
}

func (q *search) add(condition string, args ...any) {
	q.conditions = append(q.conditions, condition)
	q.args = append(q.args, args...)
}

// text is the query; its last argument is the limit.
func (q *search) text() string {
	return "SELECT e.at, e.id, e.record FROM " + q.from + " WHERE " + strings.Join(q.conditions, " AND ") +
		" ORDER BY " + q.alias + ".at DESC, " + q.alias + ".id DESC LIMIT ?"
}

// row is an event as it is read back.
type row struct {
	at     int64
	id     string
	record string
}

// run reads a page, and says whether there is another one.
func (q *search) run(ctx context.Context, tx *meta.Tx, limit int) (found []row, more bool, err error) {
	rows, err := tx.Query(ctx, q.text(), append(q.args, limit+1)...)
	if err != nil {
		return nil, false, fmt.Errorf("list calls: %w", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		if len(found) == limit || size > maxPage {
			return found, true, nil
		}
		var r row
		if err := rows.Scan(&r.at, &r.id, &r.record); err != nil {
			return nil, false, fmt.Errorf("list calls: %w", err)
		}
		size += len(r.record)
		found = append(found, r)
	}
	return found, false, rows.Err()
}

// event is the form in which a call is listed.
func (r *row) event() (lockfastapi.TrailEvent, error) {
	var rec record
	if err := json.Unmarshal([]byte(r.record), &rec); err != nil {
		return lockfastapi.TrailEvent{}, fmt.Errorf("read record of call %s: %w", r.id, err)
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
