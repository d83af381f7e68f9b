package server

import (
	"context"
	"slices"
	"time"
	"weak"

	"github.com/lockfast/lockfast/blob/fs"
	"github.com/lockfast/lockfast/internal/backupapi"
	"github.com/lockfast/lockfast/internal/iamapi"
	"github.com/lockfast/lockfast/internal/kmsapi"
	"github.com/lockfast/lockfast/internal/lockfastapi"
	"github.com/lockfast/lockfast/internal/meta"
	"github.com/lockfast/lockfast/internal/stsapi"
	"github.com/lockfast/lockfast/internal/taggingapi"
	"github.com/lockfast/lockfast/internal/wire"
	"github.com/lockfast/lockfast/resource"
)

// Operations returns the operations that have behaviour, as api/unimplemented.txt names them.
func (s *Server) Operations() []string { return s.parts.operations }

// WithDriver returns options of a server whose driver is wrapped.
func WithDriver(o Options, wrap func(resource.Driver) resource.Driver) Options {
	o.wrap = wrap
	return o
}

// WithLease returns options of a server that takes what is silent for so long for dead.
func WithLease(o Options, lease time.Duration) Options {
	o.lease = lease
	return o
}

// WithCuts returns options of a server whose transactions call a hook and whose store is on another file system.
func WithCuts(o Options, hook func(point string) error, system fs.System) Options {
	o.hook, o.system = hook, system
	return o
}

// WithRoles returns options of a server to which roles allow what a test says.
func WithRoles(o Options, r roles) Options {
	o.roles = r
	return o
}

// Impatient returns options of a server that gives jobs no time to finish when it stops.
func Impatient(o Options) Options {
	o.grace = time.Nanosecond
	return o
}

// ModelOperations returns every operation of the models, in the same form.
func ModelOperations() (names []string) {
	for _, op := range Descriptors() {
		names = append(names, op.Service.Name+"/"+op.Name)
	}
	return names
}

// Descriptors returns every operation of the models.
func Descriptors() []*wire.Descriptor {
	return slices.Concat(backupapi.Operations(), lockfastapi.Operations(), stsapi.Operations(), iamapi.Operations(),
		kmsapi.Operations(), taggingapi.Operations())
}

// ExpireKeys does what the background does for keys.
func (s *Server) ExpireKeys(ctx context.Context) error { return s.parts.nouns.keys.Expire(ctx) }

// RenewKeys does what the background does for the keys of vaults.
func (s *Server) RenewKeys(ctx context.Context) error { return s.parts.renewKeys(ctx) }

// Domain returns the domain key of an account.
func (s *Server) Domain(ctx context.Context, account string) ([32]byte, error) {
	return s.parts.nouns.keys.Domain(ctx, account)
}

// Held returns a function that names what is in memory of a server and its parts.
func (s *Server) Held() func() []string {
	p := s.parts
	parts := map[string]func() bool{"server": held(s), "parts": held(p), "database": held(p.db), "blobs": held(p.blobs),
		"trail": held(p.trail), "store": held(p.store), "workers": held(p.workers), "reclaimer": held(p.runners.reclaimer)}
	return func() (names []string) {
		for name, is := range parts {
			if is() {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
}

// held returns a function that reports whether a value is in memory.
func held[T any](v *T) func() bool {
	w := weak.Make(v)
	return func() bool { return w.Value() != nil }
}

// Unwritten returns how many states of vaults and recovery points are not in the store yet.
func (s *Server) Unwritten(ctx context.Context) (n int, err error) {
	err = s.parts.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM vault WHERE state_version > state_written) +
			(SELECT COUNT(*) FROM recovery_point WHERE state_version > state_written)`).Scan(&n)
	})
	return n, err
}

// Erasing returns how many deleted vaults are not erased yet.
func (s *Server) Erasing(ctx context.Context) (n int, err error) {
	err = s.parts.db.View(ctx, func(ctx context.Context, tx *meta.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM river_job WHERE kind = 'vault_erase' AND state <> 'completed'").Scan(&n)
	})
	return n, err
}

// WithSystem returns options of a rebuild from a store on another file system.
func (o RebuildOptions) WithSystem(s fs.System) RebuildOptions {
	o.system = s
	return o
}

// WithHook returns options of a rebuild whose transactions call a hook.
func (o RebuildOptions) WithHook(hook func(point string) error) RebuildOptions {
	o.hook = hook
	return o
}
