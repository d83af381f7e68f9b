// Package query speaks the AWS query protocol on the server's side: an operation is named by the form parameter Action, its input is the rest
// of the form, its output is XML. STS is served with it.
//
// The steps of a request are those of package restjson, with the names that errors have in this protocol.
package query

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// Access is an action on a resource that an operation asks permission for.
type Access = caller.Access

// Credentials finds the owner of an access key. Lookup has the contract of [sigv4.Lookup]; the region of the caller is filled in here.
type Credentials interface {
	Lookup(ctx context.Context, accessKeyID, sessionToken string) (secret string, c caller.Caller, err error)
}

// Authorizer decides whether a caller may do all that is asked for. It answers nil, [*wire.Denied], or an error of its own.
type Authorizer interface {
	Authorize(ctx context.Context, c caller.Caller, asked []Access) error
}

// Options says what a router works with.
type Options struct {
	Service     *wire.Service
	Credentials Credentials
	Authorizer  Authorizer
	Log         *slog.Logger
	Now         func() time.Time // time.Now if nil
	MaxBody     int64            // largest body of a request; 2 MiB if zero
}

// Router answers the requests for one service. It is an [http.Handler]; operations are registered before it serves.
type Router struct {
	Options
	verifier *sigv4.Verifier
	handlers map[string]*handler
}

// handler is an operation with its behaviour, or without one.
type handler struct {
	op     *wire.Descriptor
	call   func(ctx context.Context, in any) (any, error)      // nil if the operation is not implemented
	access func(ctx context.Context, in any) ([]Access, error) // the caller is in ctx
}

const defaultMaxBody = 2 << 20

// New returns a router without operations. Signatures are accepted for every region, as clients sign with the one they are configured for.
func New(o Options) *Router {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	everywhere := func(string) bool { return true }
	return &Router{
		Options:  o,
		verifier: &sigv4.Verifier{Service: o.Service.Name, Region: everywhere, Now: o.Now},
		handlers: map[string]*handler{},
	}
}

// Handle registers the behaviour of an operation. access answers what the caller must be allowed to do; it is [Anybody] for an operation
// that no policy can deny.
func Handle[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(c caller.Caller, in *In) []Access) {
	HandleOn(r, op, fn, func(ctx context.Context, in *In) ([]Access, error) { return access(caller.From(ctx), in), nil })
}

// HandleOn is [Handle] for an operation on something whose ARN has to be looked up first. access finds the caller in ctx;
// its error ends the request.
func HandleOn[In, Out any](r *Router, op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(ctx context.Context, in *In) ([]Access, error)) {
	r.add(&handler{
		op: op.Descriptor,
		call: func(ctx context.Context, in any) (any, error) {
			out, err := fn(ctx, in.(*In))
			if out == nil {
				out = new(Out)
			}
			return out, err
		},
		access: func(ctx context.Context, in any) ([]Access, error) { return access(ctx, in.(*In)) },
	})
}

// Anybody is the access of operations that every caller with a valid signature may carry out.
func Anybody[In any](caller.Caller, *In) []Access { return nil }

// Unimplemented registers those of the given operations that have no behaviour yet; they answer InvalidAction.
func (r *Router) Unimplemented(ops ...*wire.Descriptor) {
	for _, op := range ops {
		if r.handlers[op.Name] != nil {
			continue
		}
		asked := []Access{{Action: op.Service.Name + ":" + op.Name, Resource: "*"}}
		r.add(&handler{op: op, access: func(context.Context, any) ([]Access, error) { return asked, nil }})
	}
}

// Operations returns the names of the operations that have behaviour, sorted.
func (r *Router) Operations() []string {
	var names []string
	for name, h := range r.handlers {
		if h.call != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *Router) add(h *handler) {
	if h.op.Service != r.Service {
		panic("query: operation " + h.op.Name + " belongs to another service")
	}
	if r.handlers[h.op.Name] != nil {
		panic("query: operation " + h.op.Name + " registered twice")
	}
	r.handlers[h.op.Name] = h
}
