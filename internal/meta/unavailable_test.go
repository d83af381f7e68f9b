package meta_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/meta/metatest"
)

// bridge passes connections on to a server's socket until it is cut.
type bridge struct {
	server string
	mu     sync.Mutex
	cut    bool       // guarded by mu
	open   []net.Conn // guarded by mu
}

// newBridge makes a bridge to the server of a database, and returns the URL of the database beyond it.
func newBridge(t *testing.T, database string) (*bridge, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q, dir := u.Query(), t.TempDir()
	const socket = ".s.PGSQL.5432"
	b := &bridge{server: filepath.Join(q.Get("host"), socket)}
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); b.set(true) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.pass(c)
		}
	}()
	return b, u.String()
}

func (b *bridge) pass(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := net.Dial("unix", b.server)
	if b.cut || err != nil {
		c.Close()
		return
	}
	b.open = append(b.open, c, s)
	for _, way := range [][2]net.Conn{{c, s}, {s, c}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			way[0].Close()
		}()
	}
}

// set cuts the bridge with all connections, or opens it again.
func (b *bridge) set(cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = cut
	for _, c := range b.open {
		c.Close()
	}
	b.open = nil
}

func TestUnavailable_PostgreSQL(t *testing.T) {
	t.Parallel()
	b, database := newBridge(t, metatest.PostgreSQL(t))
	db := metatest.Open(t, meta.Options{URL: database}, counters())
	b.set(true)
	write := func() error {
		return db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error { return add(ctx, tx, "a") })
	}
	if err := write(); !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("Update without a server = %v, want %v", err, meta.ErrUnavailable)
	}
	err := db.View(t.Context(), func(context.Context, *meta.Tx) error { return nil })
	if !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("View without a server = %v, want %v", err, meta.ErrUnavailable)
	}
	b.set(false)
	if err := write(); err != nil {
		t.Errorf("Update after the server came back = %v", err)
	}
	err = db.Update(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
		b.set(true)
		return add(ctx, tx, "a")
	})
	if !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("Update that loses its connection = %v, want %v", err, meta.ErrUnavailable)
	}
	b.set(false)
}

func TestUnavailable_IsNotForWrongStatements(t *testing.T) {
	metatest.Run(t, func(t *testing.T, open func(t *testing.T, sets ...meta.MigrationSet) *meta.DB) {
		err := open(t).View(t.Context(), func(ctx context.Context, tx *meta.Tx) error {
			_, err := tx.Exec(ctx, "SELECT n FROM nowhere")
			return err
		})
		if err == nil || errors.Is(err, meta.ErrUnavailable) {
			t.Errorf("View with a wrong statement = %v, want an error of another kind", err)
		}
	})
}
