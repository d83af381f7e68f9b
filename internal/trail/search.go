package trail

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// search is what calls are listed by. Changes have indexes for it; reads are looked through.
type search struct {
	in             *lockfastapi.ListTrailEventsInput
	account        string
	oldest, newest int64     // times within which the calls are
	after          *position // what the calls come after, newest first; nil = everything
	changes, reads bool      // the kinds that may be found
	mentions       [][]byte  // what the records of all calls that are searched for contain
}

func newSearch(account string, in *lockfastapi.ListTrailEventsInput, page *restjson.Page) (*search, error) {
	q := &search{in: in, account: account, oldest: math.MinInt64, newest: math.MaxInt64, changes: true, reads: true}
	if in.StartTime != nil {
		q.oldest = meta.Micros(*in.StartTime)
	}
	if in.EndTime != nil {
		q.newest = min(meta.Micros(*in.EndTime), math.MaxInt64-maxSpan)
	}
	if in.ReadOnly != nil {
		q.changes, q.reads = !*in.ReadOnly, *in.ReadOnly
	}
	if in.EventName != nil {
		read := *in.EventName == unknownOperation || (&wire.Descriptor{Name: *in.EventName}).ReadOnly()
		q.changes, q.reads = q.changes && !read, q.reads && read
	}
	for _, text := range []*string{in.EventName, in.UserName, in.AccessKeyId, in.ResourceArn} {
		if text != nil {
			quoted := wire.AppendText(nil, *text)
			q.mentions = append(q.mentions, quoted[1:len(quoted)-1])
		}
	}
	if q.errorsOnly() {
		q.mentions = append(q.mentions, []byte(`"errorCode":`))
	}
	if page.After == nil {
		return q, nil
	}
	after, err := parsePosition(page.After)
	q.after = &after
	return q, err
}

// covers reports whether a place is among those where calls are searched for.
func (q *search) covers(p position) bool {
	return q.oldest <= p.at && p.at <= q.newest && (q.after == nil || p.before(*q.after))
}

// mentioned reports whether a text, which is one or more records, may be of calls that are searched for.
func (q *search) mentioned(text []byte) bool {
	return !slices.ContainsFunc(q.mentions, func(m []byte) bool { return !bytes.Contains(text, m) })
}

// matches reports whether a record is of a call that is searched for.
func (q *search) matches(r *record) bool {
	equal := func(want *string, got string) bool { return want == nil || *want == got }
	return equal(q.in.EventName, r.EventName) &&
		equal(q.in.UserName, r.UserIdentity.lookupName()) &&
		equal(q.in.AccessKeyId, r.UserIdentity.AccessKeyID) &&
		(!q.errorsOnly() || r.ErrorCode != "") &&
		(q.in.ResourceArn == nil || slices.ContainsFunc(r.Resources, func(res resource) bool { return res.ARN == *q.in.ResourceArn }))
}

func (q *search) errorsOnly() bool { return q.in.ErrorsOnly != nil && *q.in.ErrorsOnly }

// conditions are those of an SQL query.
type conditions struct {
	texts []string
	args  []any
}

func (c *conditions) add(text string, args ...any) {
	c.texts = append(c.texts, text)
	c.args = append(c.args, args...)
}

func (c *conditions) String() string { return strings.Join(c.texts, " AND ") }

// changesQuery is the query for changes. The columns by which it orders are those of the table whose index it uses.
func (q *search) changesQuery(limit int) (text string, args []any) {
	var c conditions
	from, alias := "trail_event e", "e"
	if q.in.ResourceArn != nil {
		from, alias = "trail_resource r CROSS JOIN trail_event e", "r" // SQLite keeps this order of a cross join
		c.add("e.account = r.account AND e.at = r.at AND e.id = r.id")
		c.add("r.arn = ?", *q.in.ResourceArn)
	}
	c.add(alias+".account = ?", q.account)
	if q.in.StartTime != nil {
		c.add(alias+".at >= ?", q.oldest)
	}
	if q.in.EndTime != nil {
		c.add(alias+".at <= ?", q.newest)
	}
	for _, equal := range []struct {
		column string
		value  *string
	}{{"event_name", q.in.EventName}, {"user_name", q.in.UserName}, {"access_key_id", q.in.AccessKeyId}} {
		if equal.value != nil {
			c.add("e."+equal.column+" = ?", *equal.value)
		}
	}
	if q.errorsOnly() {
		c.add("e.error_code <> ''")
	}
	if q.after != nil {
		c.add("("+alias+".at, "+alias+".id) < (?, ?)", q.after.at, q.after.id)
	}
	return "SELECT e.at, e.id, e.record FROM " + from + " WHERE " + c.String() +
		" ORDER BY " + alias + ".at DESC, " + alias + ".id DESC LIMIT ?", append(c.args, limit)
}

// row is an event as it is read back.
type row struct {
	position
	record string
}

// rows reads the changes of a page and one more, or as many as make a page large.
func (q *search) rows(ctx context.Context, tx *meta.Tx, limit int) (found []row, err error) {
	text, args := q.changesQuery(limit + 1)
	rows, err := tx.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		var r row
		if err := rows.Scan(&r.at, &r.id, &r.record); err != nil {
			return nil, err
		}
		found = append(found, r)
		if size > maxPage { // this one begins the next page
			break
		}
		size += len(r.record)
	}
	return found, rows.Err()
}

func (r *row) decode() (*record, error) {
	var rec record
	if err := json.Unmarshal([]byte(r.record), &rec); err != nil {
		return nil, fmt.Errorf("read record of call %s: %w", r.id, err)
	}
	return &rec, nil
}
