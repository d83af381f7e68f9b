package meta_test

import (
	"context"
	"testing"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// bench runs fn on both databases. PostgreSQL does not sync here.
func bench(b *testing.B, fn func(ctx context.Context, db *meta.DB) error) {
	for name, url := range map[string]string{"SQLite": metatest.SQLite(b), "PostgreSQL": metatest.PostgreSQL(b)} {
		b.Run(name, func(b *testing.B) {
			db := metatest.Open(b, meta.Options{URL: url}, counters())
			for b.Loop() {
				if err := fn(b.Context(), db); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	bench(b, func(ctx context.Context, db *meta.DB) error {
		return db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
			var n int64
			return tx.QueryRow(ctx, "SELECT n FROM counter WHERE name = ?", "a").Scan(&n)
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	bench(b, func(ctx context.Context, db *meta.DB) error {
		return db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") })
	})
}

func BenchmarkEnqueue(b *testing.B) {
	bench(b, func(ctx context.Context, db *meta.DB) error {
		return db.Update(ctx, func(ctx context.Context, tx *meta.Tx) error { return tx.Enqueue(ctx, task{1}, nil) })
	})
}
