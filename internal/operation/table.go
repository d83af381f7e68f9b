package operation

import (
	"cmp"
	"context"
	"slices"

	"github.com/lockfast/lockfast/internal/caller"
	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// Handler is an operation with its behaviour, or without one.
type Handler struct {
	Descriptor *wire.Descriptor
	call       func(ctx context.Context, in any) (any, error) // nil if the operation is not implemented
	asks       func(ctx context.Context, in any) ([]caller.Access, error)
}

// Implemented reports whether the operation has behaviour.
func (h *Handler) Implemented() bool { return h.call != nil }

// Access answers what the caller in ctx must be allowed to do for the operation to go ahead with an input that has been
// checked.
func (h *Handler) Access(ctx context.Context, in any) ([]caller.Access, error) {
	return h.asks(ctx, in)
}

// New joins an operation to its behaviour. access answers what the caller in ctx must be allowed to do for the operation
// to go ahead; its error ends the request in place of the operation's own.
func New[In, Out any](op wire.Operation[In, Out], fn func(ctx context.Context, in *In) (*Out, error),
	access func(ctx context.Context, in *In) ([]caller.Access, error)) *Handler {
	return &Handler{
		Descriptor: op.Descriptor,
		call: func(ctx context.Context, in any) (any, error) {
			out, err := fn(ctx, in.(*In))
			if out == nil {
				out = new(Out)
			}
			return out, err
		},
		asks: func(ctx context.Context, in any) ([]caller.Access, error) {
			return access(ctx, in.(*In))
		},
	}
}

// Plain turns an access function that needs to look nothing up into one for [New].
func Plain[In any](access func(c caller.Caller, in *In) []caller.Access,
) func(ctx context.Context, in *In) ([]caller.Access, error) {
	return func(ctx context.Context, in *In) ([]caller.Access, error) { return access(caller.From(ctx), in), nil }
}

// Table is the operations of a service. It is filled before it serves.
type Table struct {
	Options
	free     bool // whether operations may ask for no permission
	verifier *sigv4.Verifier
	handlers map[string]*Handler
}

// NewTable returns a table without operations. free says whether an operation may do without any permission; where it
// may not, one that asks for none fails.
func NewTable(o Options, free bool) *Table {
	o = o.withDefaults()
	return &Table{
		Options:  o,
		free:     free,
		verifier: &sigv4.Verifier{Service: o.Service.Name, Region: o.Region, Now: o.Now},
		handlers: map[string]*Handler{},
	}
}

// Add adds an operation.
func (t *Table) Add(h *Handler) {
	if h.Descriptor.Service != t.Service {
		panic("operation: " + h.Descriptor.Name + " belongs to another service")
	}
	if t.handlers[h.Descriptor.Name] != nil {
		panic("operation: " + h.Descriptor.Name + " registered twice")
	}
	t.handlers[h.Descriptor.Name] = h
}

// AddUnimplemented adds those of the given operations that are not in the table, without behaviour, and returns them.
func (t *Table) AddUnimplemented(ops ...*wire.Descriptor) []*Handler {
	var added []*Handler
	for _, op := range ops {
		if t.handlers[op.Name] != nil {
			continue
		}
		asked := caller.OnAll(op.Service.Name + ":" + op.Name)
		h := &Handler{Descriptor: op, asks: func(context.Context, any) ([]caller.Access, error) {
			return asked, nil
		}}
		t.Add(h)
		added = append(added, h)
	}
	return added
}

// Find returns an operation by its name, or nil.
func (t *Table) Find(name string) *Handler { return t.handlers[name] }

// Handlers returns everything in the table, also what has no behaviour, sorted by name.
func (t *Table) Handlers() []*Handler {
	all := make([]*Handler, 0, len(t.handlers))
	for _, h := range t.handlers {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *Handler) int { return cmp.Compare(a.Descriptor.Name, b.Descriptor.Name) })
	return all
}

// Operations returns the names of the operations that have behaviour, sorted.
func (t *Table) Operations() []string {
	var names []string
	for _, h := range t.Handlers() {
		if h.Implemented() {
			names = append(names, h.Descriptor.Name)
		}
	}
	return names
}
