package job

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/restjson"
	"github.com/lockfast/lockfast/internal/wire"
)

// Filters of summaries that name no value: one row for each that occurs, or one for all.
const (
	anyValue  = "ANY"
	allValues = "AGGREGATE_ALL"
)

const day = 24 * time.Hour

// dimensions are what a summary counts by. Each filter is a value, ANY or AGGREGATE_ALL; nil is ANY, and for the account the
// caller's own.
type dimensions struct {
	account, state, resourceType, category *string
}

// tally is a row of a summary.
type tally struct {
	account, state, resourceType, category string
	begin, end                             time.Time
	count                                  int
}

// key is the order of rows, newest first.
func (t tally) key() []string {
	return []string{strconv.FormatInt(t.begin.Unix(), 10), t.state, t.resourceType, t.category, t.account}
}

func (t tally) compare(u tally) int {
	return cmp.Or(u.begin.Compare(t.begin), slices.Compare(t.key()[1:], u.key()[1:]))
}

// periods are the buckets of an aggregation, newest first, up to the last midnight.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/backup-dashboards.html.
func periods(p *backupapi.AggregationPeriod, now time.Time) (name string, begins []time.Time, length time.Duration) {
	midnight := now.UTC().Truncate(day)
	name = string(backupapi.AggregationPeriodOneDay)
	if p != nil {
		name = string(*p)
	}
	switch backupapi.AggregationPeriod(name) {
	case backupapi.AggregationPeriodSevenDays:
		return name, []time.Time{midnight.Add(-7 * day)}, 7 * day
	case backupapi.AggregationPeriodFourteenDays:
		return name, []time.Time{midnight.Add(-14 * day)}, 14 * day
	}
	for i := range 14 {
		begins = append(begins, midnight.Add(-time.Duration(i+1)*day))
	}
	return name, begins, day
}

// accounts returns the condition for the accounts whose jobs a summary counts. Only the management account may ask for
// others than its own.
func (s *Service) accounts(ctx context.Context, asked *string) (condition string, args []any, err error) {
	own := caller.From(ctx).Account
	switch {
	case asked == nil || *asked == own:
	case own != s.Management && (*asked == anyValue || *asked == allValues): // there are no others for it
	case own != s.Management:
		return "", nil, &wire.Denied{Message: "Insufficient privileges to perform this action."}
	case *asked == anyValue || *asked == allValues:
		return "account <> ''", nil, nil
	default:
		own = *asked
	}
	return "account = ?", []any{own}, nil
}

// summarise counts the jobs of a kind, and returns a page of rows.
func (s *Service) summarise(ctx context.Context, k Kind, d dimensions, p *backupapi.AggregationPeriod, page *restjson.Page, limit *int) (
	period string, rows []tally, next *string, err error,
) {
	if limit != nil {
		page.Limit = *limit
	}
	if page.Limit = min(page.Limit, maxSummaries); page.Limit < 1 {
		return "", nil, nil, backupapi.InvalidParameterValueExceptionf("MaxResults must be between 1 and %d", maxSummaries)
	}
	where, args, err := s.accounts(ctx, d.account)
	if err != nil {
		return "", nil, nil, err
	}
	period, begins, length := periods(p, s.now())
	counts := map[tally]int{}
	err = s.DB.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return countJobs(ctx, tx, k, where, args, begins, length, func(t tally, n int) {
			if t, ok := d.fold(t); ok {
				counts[t] += n
			}
		})
	})
	if err != nil {
		return "", nil, nil, err
	}
	for t, n := range counts {
		t.count = n
		rows = append(rows, t)
	}
	slices.SortFunc(rows, tally.compare)
	rows, err = behind(rows, page.After)
	if len(rows) > page.Limit {
		rows = rows[:page.Limit]
		next = page.Next(rows[page.Limit-1].key()...)
	}
	return period, rows, next, err
}

// maxSummaries is the greatest page.
const maxSummaries = 500

// behind returns the rows that come after the last one of a page.
func behind(rows []tally, after []string) ([]tally, error) {
	if after == nil {
		return rows, nil
	}
	seconds, err := strconv.ParseInt(after[0], 10, 64)
	if err != nil {
		return nil, err
	}
	last := tally{begin: time.Unix(seconds, 0).UTC(), state: after[1], resourceType: after[2], category: after[3], account: after[4]}
	i := slices.IndexFunc(rows, func(t tally) bool { return t.compare(last) > 0 })
	if i < 0 {
		return nil, nil
	}
	return rows[i:], nil
}

// fold applies the filters to a row: false if one of them leaves it out.
func (d dimensions) fold(t tally) (tally, bool) {
	for _, f := range []struct {
		filter *string
		value  *string
		same   func(a, b string) bool
	}{
		{d.state, &t.state, equal}, {d.resourceType, &t.resourceType, equal}, {d.category, &t.category, sameCategories},
	} {
		switch {
		case f.filter == nil || *f.filter == anyValue:
		case *f.filter == allValues:
			*f.value = allValues
		case !f.same(*f.filter, *f.value):
			return t, false
		}
	}
	if d.account != nil && *d.account == allValues {
		t.account = allValues
	}
	return t, true
}

func equal(a, b string) bool { return a == b }

func sameCategories(a, b string) bool { return sameCategory(a) == b }

// countJobs counts the jobs that were created within some buckets of equal length, which adjoin; newest first.
func countJobs(ctx context.Context, tx *meta.Tx, k Kind, where string, args []any, begins []time.Time, length time.Duration,
	found func(t tally, n int),
) error {
	oldest := begins[len(begins)-1]
	args = append(args, caller.From(ctx).Region, meta.Micros(oldest), meta.Micros(begins[0].Add(length)))
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT account, state, resource_type, message_category, (created_at - %d) / %d, COUNT(*)
		FROM %s WHERE %s AND region = ? AND created_at >= ? AND created_at < ?
		GROUP BY account, state, resource_type, message_category, (created_at - %[1]d) / %[2]d`,
		meta.Micros(oldest), length.Microseconds(), table(k), where), args...)
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t tally
		var bucket int64
		var n int
		if err := rows.Scan(&t.account, &t.state, &t.resourceType, &t.category, &bucket, &n); err != nil {
			return fmt.Errorf("count jobs: %w", err)
		}
		t.begin = oldest.Add(time.Duration(bucket) * length)
		t.end = t.begin.Add(length)
		found(t, n)
	}
	return rows.Err()
}

// ListBackupJobSummaries counts backup jobs by day or over several days, without today's.
func (s *Service) ListBackupJobSummaries(ctx context.Context, in *backupapi.ListBackupJobSummariesInput) (*backupapi.ListBackupJobSummariesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListBackupJobSummaries, in)
	if err != nil {
		return nil, err
	}
	period, rows, next, err := s.summarise(ctx, Backups,
		dimensions{in.AccountId, (*string)(in.State), in.ResourceType, in.MessageCategory}, in.AggregationPeriod, page, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListBackupJobSummariesOutput{AggregationPeriod: &period, BackupJobSummaries: []backupapi.BackupJobSummary{}, NextToken: next}
	for _, t := range rows {
		out.BackupJobSummaries = append(out.BackupJobSummaries, backupapi.BackupJobSummary{
			Region: new(caller.From(ctx).Region), AccountId: &t.account, State: new(backupapi.BackupJobStatus(t.state)), ResourceType: &t.resourceType,
			MessageCategory: some(t.category), Count: &t.count, StartTime: &t.begin, EndTime: &t.end,
		})
	}
	return out, nil
}

// ListCopyJobSummaries counts copy jobs, as [Service.ListBackupJobSummaries] does backup jobs.
func (s *Service) ListCopyJobSummaries(ctx context.Context, in *backupapi.ListCopyJobSummariesInput) (*backupapi.ListCopyJobSummariesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListCopyJobSummaries, in)
	if err != nil {
		return nil, err
	}
	period, rows, next, err := s.summarise(ctx, Copies,
		dimensions{in.AccountId, (*string)(in.State), in.ResourceType, in.MessageCategory}, in.AggregationPeriod, page, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListCopyJobSummariesOutput{AggregationPeriod: &period, CopyJobSummaries: []backupapi.CopyJobSummary{}, NextToken: next}
	for _, t := range rows {
		out.CopyJobSummaries = append(out.CopyJobSummaries, backupapi.CopyJobSummary{
			Region: new(caller.From(ctx).Region), AccountId: &t.account, State: new(backupapi.CopyJobStatus(t.state)), ResourceType: &t.resourceType,
			MessageCategory: some(t.category), Count: &t.count, StartTime: &t.begin, EndTime: &t.end,
		})
	}
	return out, nil
}

// ListRestoreJobSummaries counts restore jobs, as [Service.ListBackupJobSummaries] does backup jobs, but not by category.
func (s *Service) ListRestoreJobSummaries(ctx context.Context, in *backupapi.ListRestoreJobSummariesInput) (*backupapi.ListRestoreJobSummariesOutput, error) {
	page, err := restjson.OpenPage(ctx, s.Pager, backupapi.ListRestoreJobSummaries, in)
	if err != nil {
		return nil, err
	}
	period, rows, next, err := s.summarise(ctx, Restores,
		dimensions{in.AccountId, (*string)(in.State), in.ResourceType, new(allValues)}, in.AggregationPeriod, page, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &backupapi.ListRestoreJobSummariesOutput{AggregationPeriod: &period, RestoreJobSummaries: []backupapi.RestoreJobSummary{}, NextToken: next}
	for _, t := range rows {
		out.RestoreJobSummaries = append(out.RestoreJobSummaries, backupapi.RestoreJobSummary{
			Region: new(caller.From(ctx).Region), AccountId: &t.account, State: new(backupapi.RestoreJobState(t.state)), ResourceType: &t.resourceType,
			Count: &t.count, StartTime: &t.begin, EndTime: &t.end,
		})
	}
	return out, nil
}

// summaryRoutes registers the summaries.
func (s *Service) summaryRoutes(r *restjson.Router) {
	restjson.Handle(r, backupapi.ListBackupJobSummaries, s.ListBackupJobSummaries,
		func(caller.Caller, *backupapi.ListBackupJobSummariesInput) []restjson.Access {
			return caller.OnAll("backup:ListBackupJobSummaries")
		})
	restjson.Handle(r, backupapi.ListCopyJobSummaries, s.ListCopyJobSummaries,
		func(caller.Caller, *backupapi.ListCopyJobSummariesInput) []restjson.Access {
			return caller.OnAll("backup:ListCopyJobSummaries")
		})
	restjson.Handle(r, backupapi.ListRestoreJobSummaries, s.ListRestoreJobSummaries,
		func(caller.Caller, *backupapi.ListRestoreJobSummariesInput) []restjson.Access {
			return caller.OnAll("backup:ListRestoreJobSummaries")
		})
}
