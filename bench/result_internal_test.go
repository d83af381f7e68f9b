package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrint_ComparesOnlyWhatCanBeCompared(t *testing.T) {
	t.Parallel()
	r := newResults()
	for _, seconds := range []float64{9, 3, 4} {
		r.add("backup", "s", "restic", seconds)
	}
	r.add("backup", "s", "lockfast", 2)
	r.note("backup beside", "s", "restic", "refused: locked")
	r.add("backup beside", "s", "restic", 7) // of another run
	r.add("backup beside", "s", "lockfast", 3)
	r.fact("returned", "MiB", "restic", 10)
	r.fact("returned", "MiB", "lockfast", 20)
	r.fact("slow-down", "times", "lockfast", 1.5)
	r.add("left", "MiB", "restic", 1)
	r.add("left", "MiB", "lockfast", 0)

	var out strings.Builder
	r.print(&out)
	want := `
| step | unit | restic | lockfast | restic / lockfast |
|---|---|---:|---:|---:|
| backup | s | 4.00 | 2.00 | 2.00 |
| backup beside | s | refused: locked | 3.00 |  |
| returned | MiB | 10.00 | 20.00 |  |
| slow-down | times |  | 1.50 |  |
| left | MiB | 1.00 | 0.00 |  |
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("print (-want +got)\n%s", diff)
	}
}
