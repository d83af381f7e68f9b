// Package caller carries who is calling, and by which request, from the protocol packages to the operations; and what an
// operation wants to do ([Access]), from the operations to the authoriser.
package caller

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kind tells the kinds of callers apart. The values are those of the type in AWS's records of API calls.
type Kind string

// The kinds.
const (
	User        Kind = "IAMUser"
	RoleSession Kind = "AssumedRole"
	Root        Kind = "Root"
	Service     Kind = "AWSService"
)

// Caller is the identity a request was signed with, and the region it was signed for.
type Caller struct {
	Account     string // 12 digits
	Region      string
	ARN         string // of the user or of the role session
	UserID      string // unique id, "AIDA..." or "AROA...:session"; the account for its root
	AccessKeyID string
	Kind        Kind
	Name        string   // of the user, or of the session's role
	RoleARN     string   // of the session's role
	Session     *Session // nil for a caller with a permanent access key
}

// Session is what temporary credentials carry. It must not be changed.
type Session struct {
	Name           string // of a role session; empty for a user's own
	Issued         time.Time
	Expires        time.Time
	Policies       []string          // session policies: documents
	PolicyARNs     []string          // session policies: managed policies
	Limited        bool              // session policies were given, so one of them has to allow
	Tags           map[string]string // session tags
	TransitiveTags []string          // keys of the tags that sessions made from this one inherit
	SourceIdentity string
}

// Request is what is known of a request beside its caller.
type Request struct {
	ID        string
	SourceIP  string // without a port
	UserAgent string
	Referer   string
	Secure    bool // came by TLS
}

// Access is something a caller wants to do: an action such as "backup:DeleteRecoveryPoint" on the ARN of a resource, or on "*".
type Access struct {
	Action   string
	Resource string
	// Also are other ARNs by which policies may name the resource: a recovery point answers to its vault, too. It is
	// allowed if it is allowed by any name, and denied if it is denied by any.
	Also []string
	// Keys are condition keys that belong to this access, such as "iam:PassedToService", in lower case.
	Keys map[string][]string
	// Or are alternatives: it is allowed if this or one of them is allowed and none is denied by a statement. Only what
	// the service asks of roles has any; what callers ask for has none.
	Or []Access
}

// On is a list of one access.
func On(action, resource string, also ...string) []Access {
	return []Access{{Action: action, Resource: resource, Also: also}}
}

// OnAll is a list of one access to an action that has no resource.
func OnAll(action string) []Access { return On(action, "*") }

// Tagging is a list of one access whose request gives tags to the resource. Keys of tags that differ only in case are one
// condition key with all their values.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html.
func Tagging(action, resource string, tags map[string]string) []Access {
	asked := On(action, resource)
	if len(tags) == 0 {
		return asked
	}
	keys := map[string][]string{"aws:tagkeys": slices.Sorted(maps.Keys(tags))}
	for _, key := range keys["aws:tagkeys"] {
		name := "aws:requesttag/" + strings.ToLower(key)
		keys[name] = append(keys[name], tags[key])
	}
	asked[0].Keys = keys
	return asked
}

// ServiceName is the name under which the service itself uses roles.
const ServiceName = "backup.amazonaws.com"

// Pass asks for the right to hand a role over to the service; nothing if there is no role.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html.
func Pass(role *string) []Access {
	if role == nil {
		return nil
	}
	return []Access{{Action: "iam:PassRole", Resource: *role, Keys: map[string][]string{"iam:passedtoservice": {ServiceName}}}}
}

type (
	callerKey  struct{}
	requestKey struct{}
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

// WithRequest returns a context that carries a request.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestFrom returns the request that ctx belongs to, or the zero Request.
func RequestFrom(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

// RequestID returns the id of the request that ctx belongs to, or the empty string.
func RequestID(ctx context.Context) string { return RequestFrom(ctx).ID }

// RequestOf reads what an HTTP request says of itself.
func RequestOf(r *http.Request, id string) Request {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	return Request{ID: id, SourceIP: ip, UserAgent: r.UserAgent(), Referer: r.Referer(), Secure: r.TLS != nil}
}
