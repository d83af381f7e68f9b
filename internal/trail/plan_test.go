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
		in   lockfastapi.ListTrailEventsInput
		want string
	}{
		"all":      {lockfastapi.ListTrailEventsInput{}, "sqlite_autoindex_trail_event_1 (account=?"},
		"time":     {lockfastapi.ListTrailEventsInput{StartTime: now, EndTime: now}, "sqlite_autoindex_trail_event_1 (account=? AND at"},
		"event":    {lockfastapi.ListTrailEventsInput{EventName: text}, "trail_event_name (account=? AND event_name=?"},
		"user":     {lockfastapi.ListTrailEventsInput{UserName: text}, "trail_event_user (account=? AND user_name=?"},
		"errors":   {lockfastapi.ListTrailEventsInput{ErrorsOnly: new(true)}, "trail_event_error (account=?"},
		"changes":  {lockfastapi.ListTrailEventsInput{ReadOnly: new(false)}, "trail_event_change (account=?"},
		"resource": {lockfastapi.ListTrailEventsInput{ResourceArn: text, EventName: text}, "sqlite_autoindex_trail_resource_1 (account=? AND arn=?"},
	} {
		for _, after := range [][]string{nil, {"5", "id"}} {
			plan := explain(t, db, &test.in, after)
			if !strings.Contains(plan, test.want) || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s after %v: %s, want %s", name, after, plan, test.want)
			}
		}
	}
}

func explain(t *testing.T, db *meta.DB, in *lockfastapi.ListTrailEventsInput, after []string) string {
	t.Helper()
	text, args := trail.SearchText(t, in, after)
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
