package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// usage is what one command, or several in turn, used.
type usage struct {
	wall time.Duration
	cpu  time.Duration
	peak int64 // bytes of memory, of the largest process
}

func (u usage) plus(v usage) usage {
	return usage{wall: u.wall + v.wall, cpu: u.cpu + v.cpu, peak: max(u.peak, v.peak)}
}

// timed runs cmd and asks the kernel what it used.
func timed(cmd *exec.Cmd) (usage, error) {
	start := time.Now()
	err := cmd.Run()
	u := usage{wall: time.Since(start)}
	if cmd.ProcessState != nil {
		u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			u.peak = r.Maxrss << 10
		}
	}
	return u, err
}

// results collects figures by row and tool; a row is one step of a story.
type results struct {
	rows   []string
	tools  []string
	unit   map[string]string
	values map[string]map[string][]float64
	notes  map[string]map[string]string
	facts  map[string]bool // rows of which less is not better
}

func newResults() *results {
	return &results{unit: map[string]string{}, values: map[string]map[string][]float64{},
		notes: map[string]map[string]string{}, facts: map[string]bool{}}
}

// add records a figure of which less is better.
func (r *results) add(row, unit, tool string, value float64) {
	r.open(row, unit, tool)
	r.values[row][tool] = append(r.values[row][tool], value)
	fmt.Printf("%-44s %-9s %10.2f %s\n", row, tool, value, unit)
}

// fact records a figure that is no merit by itself: it gets no ratio.
func (r *results) fact(row, unit, tool string, value float64) {
	r.facts[row] = true
	r.add(row, unit, tool, value)
}

// note records what happened where there is no figure. It stands before the
// figures of other runs.
func (r *results) note(row, unit, tool, text string) {
	r.open(row, unit, tool)
	r.notes[row][tool] = text
	fmt.Printf("%-44s %-9s %s\n", row, tool, text)
}

// open makes the row and the column that are new.
func (r *results) open(row, unit, tool string) {
	if !slices.Contains(r.rows, row) {
		r.rows = append(r.rows, row)
		r.unit[row] = unit
		r.values[row] = map[string][]float64{}
		r.notes[row] = map[string]string{}
	}
	if !slices.Contains(r.tools, tool) {
		r.tools = append(r.tools, tool)
	}
}

// step records a command: its time, its processor time and its peak memory.
func (r *results) step(story, step, tool string, u usage) {
	r.add(story+": "+step, "s", tool, u.wall.Seconds())
	r.add(story+": "+step+", cpu", "s", tool, u.cpu.Seconds())
	r.add(story+": "+step+", peak memory", "MiB", tool, float64(u.peak)/(1<<20))
}

// print writes the medians, and each tool's figure divided by Lockfast's: above
// 1, Lockfast is better.
func (r *results) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	fmt.Fprint(t, "| step | unit |")
	for _, tool := range r.tools {
		fmt.Fprintf(t, " %s |", tool)
	}
	compared := slices.Contains(r.tools, "lockfast")
	for _, tool := range r.tools {
		if compared && tool != "lockfast" {
			fmt.Fprintf(t, " %s / lockfast |", tool)
		}
	}
	fmt.Fprint(t, "\n|---|---|")
	columns := len(r.tools)
	if compared {
		columns = 2*columns - 1
	}
	fmt.Fprint(t, strings.Repeat("---:|", columns))
	fmt.Fprintln(t)
	for _, row := range r.rows {
		fmt.Fprintf(t, "| %s | %s |", row, r.unit[row])
		for _, tool := range r.tools {
			fmt.Fprintf(t, " %s |", r.cell(row, tool))
		}
		for _, tool := range r.tools {
			if compared && tool != "lockfast" {
				fmt.Fprintf(t, " %s |", r.ratio(row, tool))
			}
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // to standard output
}

// cell is the note or the median of a tool; empty if there is neither.
func (r *results) cell(row, tool string) string {
	if note := r.notes[row][tool]; note != "" {
		return note
	}
	if len(r.values[row][tool]) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(r.values[row][tool]))
}

// ratio compares a tool with Lockfast; empty where they cannot be compared.
func (r *results) ratio(row, tool string) string {
	ours := median(r.values[row]["lockfast"])
	missing := r.notes[row][tool] != "" || r.notes[row]["lockfast"] != "" || len(r.values[row][tool]) == 0
	if missing || r.facts[row] || ours == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(r.values[row][tool])/ours)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
