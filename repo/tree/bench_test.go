package tree_test

import (
	"testing"

	"github.com/lockfast/lockfast/repo/tree"
)

func BenchmarkBuilderPut(b *testing.B) {
	m := newMemory(b)
	entries := files(100_000, 1)
	for b.Loop() {
		m.build(b, entries)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/entry")
}

func BenchmarkBuilderKeep(b *testing.B) {
	m := newMemory(b)
	root := m.build(b, files(100_000, 1))
	for b.Loop() {
		w := m.builder()
		c := tree.NewCursor(b.Context(), m, root.ID, tree.CursorOptions{})
		for c.Next() {
			if err := w.Keep(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Finish(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/entry")
}

func BenchmarkCursor(b *testing.B) {
	m := newMemory(b)
	root := m.build(b, files(100_000, 1))
	b.ReportAllocs()
	for b.Loop() {
		c := tree.NewCursor(b.Context(), m, root.ID, tree.CursorOptions{})
		n := 0
		for c.Next() {
			n++
		}
		if n != 100_000 {
			b.Fatal(n, c.Err())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/entry")
}
