package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// output writes what a command has to say: results to standard output and everything else to standard error, or, with
// --json, all of it to standard output as JSON objects, one per line, told apart by their "type".
type output struct {
	stdout, stderr io.Writer
	json           bool
}

// errorLine is the JSON form of a failure, or of one item that was left out.
type errorLine struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Path    string `json:"path,omitempty"`
	Vault   string `json:"vault,omitempty"` // of a recovery point in a store that cannot be read
	Point   string `json:"point,omitempty"`
}

// progressLine is the JSON form of how far a job or a task has come.
type progressLine struct {
	Type       string  `json:"type"`
	Subject    string  `json:"subject"`
	Items      int64   `json:"items,omitempty"`
	Done       int64   `json:"done"`
	Total      int64   `json:"total,omitempty"`
	Percent    float64 `json:"percent,omitempty"`
	ElapsedSec float64 `json:"elapsed_seconds"`
}

// seconds is a duration as JSON has it, to the millisecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

// line writes one JSON object.
func (o *output) line(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = o.stdout.Write(append(data, '\n'))
	return err
}

// fail reports why the command failed.
func (o *output) fail(err error) {
	if o.json {
		_ = o.line(errorLine{Type: "error", Message: err.Error()})
		return
	}
	fmt.Fprintf(o.stderr, "lockfast: %v\n", err)
}

// skipped names an item that was left out.
func (o *output) skipped(path, reason string) {
	if o.json {
		_ = o.line(errorLine{Type: "error", Message: "skipped: " + reason, Path: path})
		return
	}
	fmt.Fprintf(o.stderr, "lockfast: skipped %s: %s\n", path, reason)
}

// note writes a remark for people.
func (o *output) note(format string, args ...any) {
	if !o.json {
		fmt.Fprintf(o.stderr, format+"\n", args...)
	}
}

// size writes a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1023.95 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// sizeOr writes a number of bytes that may be unknown.
func sizeOr(n *int64) string {
	if n == nil {
		return "-"
	}
	return size(*n)
}

// local writes a time for people.
func local(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// deref returns what p points to, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
