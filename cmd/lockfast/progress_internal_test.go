package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProgress_WithJSONIsALineASecond(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	p := (&output{stdout: &out, stderr: &errs, json: true}).progress("/srv/home", true)
	p.last = p.last.Add(time.Hour)
	p.update(1, 1, 3) // the last line was less than a second ago
	for _, u := range [][3]int64{{7, 1, 3}, {8, 20, 0}, {9, 5, 4}} {
		p.last = time.Now().Add(-time.Minute)
		p.update(u[0], u[1], u[2])
	}
	p.finish()
	var got []progressLine
	for line := range strings.Lines(out.String()) {
		var l progressLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		l.ElapsedSec = 0
		got = append(got, l)
	}
	want := []progressLine{
		{Type: "progress", Subject: "/srv/home", Items: 7, Done: 1, Total: 3, Percent: 33.3},
		{Type: "progress", Subject: "/srv/home", Items: 8, Done: 20},
		{Type: "progress", Subject: "/srv/home", Items: 9, Done: 5, Total: 4, Percent: 100},
	}
	if diff := cmp.Diff(want, got); diff != "" || errs.Len() > 0 {
		t.Errorf("lines (-want +got):\n%s, beside %q", diff, errs.String())
	}
}

func TestProgress_ElsewhereIsNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := (&output{stdout: &out, stderr: &out}).progress("/srv/home", true) // no terminal
	p.last = p.last.Add(-time.Hour)
	p.update(7, 1, 3)
	p.finish()
	if out.Len() > 0 {
		t.Errorf("printed %q, want nothing", out.String())
	}
}

func TestProgress_Bar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &progress{bar: newBar(&out, "/srv/home", true, 0), max: -1}
	p.update(1, 3<<20, 4<<20)
	if text := p.bar.String(); !strings.Contains(text, "/srv/home") || !strings.Contains(text, "75%") || !strings.Contains(text, "3.0/4.0 MiB") {
		t.Errorf("bar = %q, want the subject, 75%% and 3.0/4.0 MiB", text)
	}
	p.update(2, 9<<20, 4<<20) // more than was expected
	if text := p.bar.State(); text.CurrentPercent != 1 {
		t.Errorf("bar is at %v, want its end", text.CurrentPercent)
	}
	p.finish()
}

// TestBackup_SkippedItems backs up a directory that holds the data directory, which no backup reads.
func TestBackup_SkippedItems(t *testing.T) {
	c := newCLI(t)
	home := filepath.Dir(c.data)
	_, stderr := c.do(exitSkipped, "backup", home)
	if !strings.Contains(stderr, "lockfast: skipped "+filepath.Base(c.data)+": ") {
		t.Errorf("backup reports %q, want what it skipped", stderr)
	}
	lines := c.lines(exitSkipped, "error", "backup", home)
	if len(lines) != 1 || lines[0]["path"] != filepath.Base(c.data) {
		t.Errorf("backup --json reports %v, want one path that was skipped", lines)
	}
}
