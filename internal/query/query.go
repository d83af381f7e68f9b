// Package query speaks the AWS query protocol on the server's side: an operation is named by the form parameter Action, its input is the rest
// of the form, its output is XML. IAM and STS are served with it.
//
// The steps of a request are those of package restjson, with the names that errors have in this protocol.
package query

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
	// Credentials finds the owner of an access key.
	Credentials = operation.Credentials
	// Authorizer decides whether a caller may do all that is asked for.
	Authorizer = operation.Authorizer
	// Options says what a router works with.
	Options = operation.Options
)

// Router answers the requests for one service. It is an [http.Handler]; operations are registered before it serves.
type Router struct{ *operation.Table }

// New returns a router without operations.
func New(o Options) *Router { return &Router{operation.NewTable(o, true)} }

// Handle registers the behaviour of an operation. access answers what the caller must be allowed to do; it is [Anybody] for an operation
// that no policy can deny.
func Handle[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(c caller.Caller, in *In) []Access) {
	HandleOn(r, op, fn, operation.Plain(access))
}

// HandleOn is [Handle] for an operation on something that has to be looked up before permission can be asked. access finds the caller in
// ctx; its error ends the request like one of the operation, and must not tell what the caller may not know.
func HandleOn[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(ctx context.Context, in *In) ([]Access, error)) {
	r.Add(operation.New(op, fn, access))
}

// Anybody is the access of operations that every caller with a valid signature may carry out.
func Anybody[In any](caller.Caller, *In) []Access { return nil }

// Unimplemented registers those of the given operations that have no behaviour yet; they answer InvalidAction.
func (r *Router) Unimplemented(ops ...*wire.Descriptor) { r.AddUnimplemented(ops...) }
