package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// Not parallel: the setting is that of the process.
func TestCollectLater(t *testing.T) {
	before := debug.SetGCPercent(gcPercent)
	defer debug.SetGCPercent(before)
	collectLater()
	if got := debug.SetGCPercent(firstPercent); got != firstPercent {
		t.Errorf("before anything is collected GOGC is %d, want %d", got, firstPercent)
	}
	got := firstPercent
	for range 1000 { // the cleanup runs soon after a collection
		runtime.GC()
		if got = debug.SetGCPercent(firstPercent); got == gcPercent {
			break
		}
		debug.SetGCPercent(got)
		runtime.Gosched()
	}
	if got != gcPercent {
		t.Errorf("after collections GOGC is %d, want %d", got, gcPercent)
	}
}
