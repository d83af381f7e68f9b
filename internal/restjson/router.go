// Package restjson speaks the AWS rest-json protocol, as server and as client. A [Router] takes a request through every step that is the same
// for all operations: request id, signature, routing on the raw path, decoding and checking the input, authorisation, encoding the output
// or the error. [Handle] joins an operation to the function that carries it out. [Call] is the client's side.
//
// What operations share beyond that is here too: page tokens ([Pager]) and fingerprints of inputs for idempotency tokens ([Fingerprint]).
package restjson

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
	// Outcome is what became of a request.
	Outcome = operation.Outcome
)

// Router answers the requests for one service. It is an [http.Handler]; operations are registered before it serves.
type Router struct {
	*operation.Table
	routes routes
}

// New returns a router without operations.
func New(o Options) *Router { return &Router{Table: operation.NewTable(o, false)} }

// Handle registers the behaviour of an operation. access answers what the caller must be allowed to do for the operation to go ahead; it is
// asked after the input has been checked, and must name at least one action.
func Handle[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(c caller.Caller, in *In) []Access) {
	HandleOn(r, op, fn, operation.Plain(access))
}

// HandleOn is [Handle] for an operation on something that has to be looked up before permission can be asked. access finds the caller in
// ctx; its error ends the request like one of the operation, and must not tell what the caller may not know.
func HandleOn[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(ctx context.Context, in *In) ([]Access, error)) {
	h := operation.New(op, fn, access)
	r.Add(h)
	r.routes.add(h)
}

// Unimplemented registers those of the given operations that have no behaviour yet. Their requests are routed, checked and authorised like
// all others, and then refused.
func (r *Router) Unimplemented(ops ...*wire.Descriptor) {
	for _, h := range r.AddUnimplemented(ops...) {
		r.routes.add(h)
	}
}
