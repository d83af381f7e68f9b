package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far something has come: a bar on a terminal, a line a second with --json, else nothing.
type progress struct {
	out     *output
	subject string
	bytes   bool // done and total are bytes
	start   time.Time
	last    time.Time // of the last line
	bar     *progressbar.ProgressBar
	max     int64 // of the bar
}

func (o *output) progress(subject string, bytes bool) *progress {
	p := &progress{out: o, subject: subject, bytes: bytes, start: time.Now()}
	p.last = p.start
	if f, ok := o.stderr.(*os.File); ok && !o.json && term.IsTerminal(int(f.Fd())) {
		p.max = -1
		p.bar = newBar(o.stderr, subject, bytes, 100*time.Millisecond)
	}
	return p
}

// newBar returns a bar whose end is not known yet, and which is drawn no more often than every pause.
func newBar(w io.Writer, subject string, bytes bool, pause time.Duration) *progressbar.ProgressBar {
	return progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(subject),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionThrottle(pause),
		progressbar.OptionClearOnFinish(),
	)
}

// update tells of new figures. total is 0 when it is unknown.
func (p *progress) update(items, done, total int64) {
	if p.bar != nil {
		if total > 0 && total != p.max {
			p.max = total
			p.bar.ChangeMax64(total)
		}
		if p.max > 0 {
			done = min(done, p.max)
		}
		_ = p.bar.Set64(done)
		return
	}
	now := time.Now()
	if !p.out.json || now.Sub(p.last) < time.Second {
		return
	}
	p.last = now
	l := progressLine{Type: "progress", Subject: p.subject, Items: items, Done: done, Total: total,
		ElapsedSec: seconds(now.Sub(p.start))}
	if total > 0 {
		l.Percent = min(100, float64(done*1000/total)/10)
	}
	_ = p.out.line(l)
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
