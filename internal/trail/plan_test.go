package trail_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
	"github.com/lockfast/lockfast/internal/trail"
)

// TestSearch_ReadsAnIndexInOrder asks SQLite how it finds calls: by the index for the filter, and without sorting.
func TestSearch_ReadsAnIndexInOrder(t *testing.T) {
	t.Parallel()
	db := metatest.Open(t, meta.Options{URL: metatest.SQLite(t)}, trail.Migrations())
	text, now := new("x"), new(time.Now())
	for name, test := range map[string]struct {
		in          lockfastapi.ListTrailEventsInput
		want, reads string
	}{
		"all":      {lockfastapi.ListTrailEventsInput{}, "sqlite_autoindex_trail_event_1 (account=?", "sqlite_autoindex_trail_segment_1 (account=?"},
		"time":     {lockfastapi.ListTrailEventsInput{StartTime: now, EndTime: now}, "sqlite_autoindex_trail_event_1 (account=? AND at", "sqlite_autoindex_trail_segment_1 (account=? AND last_at"},
		"event":    {lockfastapi.ListTrailEventsInput{EventName: text}, "trail_event_name (account=? AND event_name=?", "sqlite_autoindex_trail_segment_1 (account=?"},
		"user":     {lockfastapi.ListTrailEventsInput{UserName: text}, "trail_event_user (account=? AND user_name=?", "sqlite_autoindex_trail_segment_1 (account=?"},
		"errors":   {lockfastapi.ListTrailEventsInput{ErrorsOnly: new(true)}, "trail_event_error (account=?", "trail_segment_failed (account=?"},
		"resource": {lockfastapi.ListTrailEventsInput{ResourceArn: text, EventName: text}, "sqlite_autoindex_trail_resource_1 (account=? AND arn=?", "sqlite_autoindex_trail_segment_1 (account=?"},
	} {
		for _, after := range [][]string{nil, {"5", "id"}} {
			changes, changesArgs, reads, readsArgs := trail.SearchTexts(t, &test.in, after)
			for plan, want := range map[string]string{
				explain(t, db, changes, changesArgs): test.want,
				explain(t, db, reads, readsArgs):     test.reads,
			} {
				if !strings.Contains(plan, want) || strings.Contains(plan, "TEMP B-TREE") {
					t.Errorf("%s after %v: %s, want %s", name, after, plan, want)
				}
			}
		}
	}
}

func explain(t *testing.T, db *meta.DB, text string, args []any) string {
	t.Helper()
	var plan []string
	err := db.View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		rows, err := tx.Query(ctx, "EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var a, b, c int
			var detail string
			if err := rows.Scan(&a, &b, &c, &detail); err != nil {
				return err
			}
			plan = append(plan, detail)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}
