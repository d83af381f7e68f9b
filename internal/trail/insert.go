package trail

import (
	"context"
	"fmt"
	"strings"

	"github.com/lockfast/lockfast/internal/meta"
)

// sizes are the numbers of rows that one statement inserts, so that there are few different statements.
var sizes = []int{64, 8, 1}

// insert writes a batch. What is there already stays as it is, which makes repetition harmless.
func insert(ctx context.Context, tx *meta.Tx, b *batch) error {
	var rows, resources, segments [][]any
	for _, e := range b.writes {
		rows = append(rows, []any{e.account, e.at, e.id, e.name, e.user, e.key, e.code, e.record})
		for _, arn := range e.resources {
			resources = append(resources, []any{e.account, arn, e.at, e.id})
		}
	}
	for _, g := range b.segments {
		segments = append(segments, []any{g.account, g.last, g.id, g.first, g.calls, g.failed, g.data})
	}
	for _, t := range []struct {
		into string
		rows [][]any
	}{
		{"trail_event (account, at, id, event_name, user_name, access_key_id, error_code, record)", rows},
		{"trail_resource (account, arn, at, id)", resources},
		{"trail_segment (account, last_at, id, first_at, calls, failed, data)", segments},
	} {
		if err := insertRows(ctx, tx, t.into, t.rows); err != nil {
			return fmt.Errorf("record calls: %w", err)
		}
	}
	return nil
}

func insertRows(ctx context.Context, tx *meta.Tx, into string, rows [][]any) error {
	for _, size := range sizes {
		for len(rows) >= size {
			var args []any
			for _, row := range rows[:size] {
				args = append(args, row...)
			}
			row := "(?" + strings.Repeat(", ?", len(rows[0])-1) + ")"
			text := "INSERT INTO " + into + " VALUES " + row + strings.Repeat(", "+row, size-1) + " ON CONFLICT DO NOTHING"
			if _, err := tx.Exec(ctx, text, args...); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
}
