package localledger_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockfast/lockfast/repo"
	"github.com/lockfast/lockfast/repo/ledgertest"
	"github.com/lockfast/lockfast/repo/localledger"
)

// clock is a clock that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1e9, c.offset.Load()) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func TestMemory(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T) ledgertest.Subject {
		var c clock
		return ledgertest.Subject{Ledger: localledger.New(localledger.Options{Now: c.now}), Advance: c.advance}
	})
}

func TestFile(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T) ledgertest.Subject {
		var c clock
		path := filepath.Join(t.TempDir(), "ledger")
		open := func() *localledger.Ledger {
			l, err := localledger.Open(path, localledger.Options{Now: c.now})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := open()
		t.Cleanup(func() { l.CloseFile() })
		return ledgertest.Subject{Ledger: l, Advance: c.advance, Reopen: func() repo.Ledger {
			l.CloseFile()
			l = open()
			return l
		}}
	})
}

func TestOpen_TornRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := localledger.Open(path, localledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(t.Context(), repo.SessionOptions{Kind: repo.SessionWriter}); err != nil {
		t.Fatal(err)
	}
	l.CloseFile()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range 40 {
		torn := whole[:len(whole)-1-cut]
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := localledger.Open(path, localledger.Options{})
		if err != nil {
			t.Fatalf("Open with %d bytes torn off: %v", cut+1, err)
		}
		l.CloseFile()
	}
}

func TestOpen_DamagedRecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte("00000000 {}\n00000000 {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := localledger.Open(path, localledger.Options{}); err == nil {
		t.Error("Open of a damaged ledger = nil, want an error")
	}
}
