// Package json11 speaks the AWS JSON 1.1 protocol on the server's side: every request is a POST to /, the header
// X-Amz-Target names the operation, input and output are JSON documents in the bodies. KMS is served with it.
//
// The steps of a request are those of package restjson. Errors are a document with a __type and a message, and have the
// status 400 unless the server is at fault, also where other protocols answer 403.
package json11

import (
	"context"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/wire"
)

// What a router works with is the same in every protocol; see package operation.
type (
	// Access is an action on a resource that an operation asks permission for.
	Access = caller.Access
	// Options says what a router works with.
	Options = operation.Options
)

// Router answers the requests for one service. It is an [http.Handler]; operations are registered before it serves.
type Router struct{ *operation.Table }

// New returns a router without operations.
func New(o Options) *Router { return &Router{operation.NewTable(o, false)} }

// Handle registers the behaviour of an operation. access answers what the caller must be allowed to do; it must name at
// least one action.
func Handle[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(c caller.Caller, in *In) []Access) {
	HandleOn(r, op, fn, operation.Plain(access))
}

// HandleOn is [Handle] for an operation on something that has to be looked up before permission can be asked. access
// finds the caller in ctx; its error ends the request like one of the operation, and must not tell what the caller may
// not know.
func HandleOn[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(ctx context.Context, in *In) ([]Access, error)) {
	r.Add(operation.New(op, fn, access))
}

// Unimplemented registers those of the given operations that have no behaviour yet; they answer
// UnknownOperationException.
func (r *Router) Unimplemented(ops ...*wire.Descriptor) { r.AddUnimplemented(ops...) }
