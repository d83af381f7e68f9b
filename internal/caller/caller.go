// Package caller carries who is calling, and by which request, from the protocol packages to the operations.
package caller

import "context"

// Caller is the identity a request was signed with, and the region it was signed for.
type Caller struct {
	Account     string // 12 digits
	Region      string
	ARN         string // of the user or of the role session
	UserID      string // unique id, "AIDA..." or "AROA...:session"; the account for its root
	AccessKeyID string
}

// Access is something a caller wants to do: an action such as "backup:DeleteRecoveryPoint" on the ARN of a resource, or on "*".
type Access struct {
	Action   string
	Resource string
}

type (
	callerKey    struct{}
	requestIDKey struct{}
)

// With returns a context that carries the caller.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns the caller of the request that ctx belongs to. Without a request it is the zero Caller.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// WithRequestID returns a context that carries the id of a request.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id of the request that ctx belongs to, or the empty string.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
