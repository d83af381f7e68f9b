// Package operation holds what the wire protocols have in common: the table of a service's operations with their
// behaviour ([Table], [Handler]), and the way of a request through it ([Call]): who calls, what may the caller do,
// what came of it. Reading inputs and writing answers is the protocols' own.
package operation

import (
	"context"
	"log/slog"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/wire"
)

// Credentials finds the owner of an access key. Lookup has the contract of [sigv4.Lookup]; the region of the caller is filled in here.
type Credentials interface {
	Lookup(ctx context.Context, accessKeyID, sessionToken string) (secret string, c caller.Caller, err error)
}

// Authorizer decides whether a caller may do all that is asked for. It answers nil, [*wire.Denied], or an error of its own.
type Authorizer interface {
	Authorize(ctx context.Context, c caller.Caller, asked []caller.Access) error
}

// Recorder keeps a log of calls.
type Recorder interface {
	// Record is called once for every request, when its outcome is certain and before its answer is sent; what it is
	// given must not be changed. It may be called concurrently, keeps the answer waiting until it returns, and cannot
	// change it: what the call did has been done. A cancelled context does not undo that either.
	Record(ctx context.Context, c *Call)
}

// Options says what a router works with.
type Options struct {
	Service     *wire.Service
	Credentials Credentials
	Authorizer  Authorizer
	Recorder    Recorder // may be nil
	Log         *slog.Logger
	Now         func() time.Time                     // time.Now if nil
	Region      func(region string) bool             // reports whether a region is served; every region if nil
	MaxBody     int64                                // largest body of a request; 2 MiB if zero
	Observe     func(ctx context.Context, o Outcome) // called after every request, if not nil
}

// Outcome is what became of a request.
type Outcome struct {
	Operation string // empty if the request did not get as far as an operation
	Status    int
	Error     string // name of the error, empty on success
	Duration  time.Duration
}

const defaultMaxBody = 2 << 20

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Region == nil {
		o.Region = func(string) bool { return true }
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	return o
}
