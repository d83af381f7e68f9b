package policy

import "strings"

// Request is what a principal wants to do.
type Request struct {
	Principal Principal
	Action    string
	// Resources are the ARN of the thing and then other ARNs by which statements may name it; a recovery point answers
	// to its vault, too. Each is evaluated for itself. The request is denied explicitly if it is for any of them, and
	// else allowed if it is for any of them; a refusal is explained by the first. "*", or none, is for actions without
	// resource.
	Resources []string
	Context   Context // nil: no keys
	// SameAccount says that the resource belongs to the principal's account. If not, both sides must allow.
	SameAccount bool
}

// Attached is the policy of a resource.
type Attached struct {
	Document *Document
	// IDs are the unique ids that ARNs of principals had when the policy was put: of a user, of a role, or of a
	// session's role. An ARN with an id stands for the principal with this id only. An ARN without one is compared as
	// text.
	IDs map[string]string
	// On is the ARN of what the policy is attached to, if requests may be for things in it: statements that name it speak
	// of those, too.
	On string
}

// Sets are the policies that have a say about a request.
type Sets struct {
	Identity   []*Document // of the user and its groups, or of the role
	Boundary   *Document   // nil: none
	Session    []*Document // counts only if HasSession; then nothing is allowed that none of them allows
	HasSession bool
	Resource   []Attached // of the resource
	// ResourceDecides says that the policies of identities count only if a policy of the resource names the principal
	// or its account. It is so for roles and for keys, not for vaults.
	ResourceDecides bool
}

// Source is a set of policies.
type Source uint8

const (
	// IdentityBased are the policies of a user, its groups, or a role.
	IdentityBased Source = iota + 1
	// ResourceBased are the policies of the resource.
	ResourceBased
	// SessionPolicy are the policies given when the role was assumed.
	SessionPolicy
	// Boundary is the permissions boundary.
	Boundary
)

// Decision is the answer to a request.
type Decision struct {
	Allowed  bool
	Explicit bool   // denied by a statement, not for want of one
	Source   Source // the set that denied or lacked the allow; 0 if allowed
	// Delegated is set by [Trusts] only: not allowed by the trust policy alone, but if the identity policies of the
	// principal allow, too.
	Delegated bool
}

// Reason explains a refusal in the words of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html, which follow "is not authorized to
// perform: A on resource: R". It is empty if the decision is to allow.
func (d Decision) Reason(action string) string {
	switch {
	case d.Allowed:
		return ""
	case d.Explicit:
		return "with an explicit deny in " + [...]string{"", "an identity-based policy", "a resource-based policy",
			"a session policy", "a permissions boundary"}[d.Source]
	}
	return "because no " + [...]string{"", "identity-based policy", "resource-based policy", "session policy",
		"permissions boundary"}[d.Source] + " allows the " + action + " action"
}

// Decide answers a request. It does not change its arguments and may be called concurrently.
func Decide(r *Request, s *Sets) Decision {
	return overResources(r, func(e *evaluation) Decision { return e.decide(r, s) })
}

// Trusts answers whether the trust policy of a role alone allows the action, such as "sts:AssumeRole". It does if it
// names the principal, its role or everyone. If it names only the account, or if the role is in another account, the
// decision is Delegated: identity policies must allow, too. Boundary and session policies of the principal are not
// looked at; [Decide] with the trust policy in Sets.Resource and with ResourceDecides is the whole decision.
func Trusts(d Attached, r *Request) Decision {
	return overResources(r, func(e *evaluation) Decision {
		found, denied := d.evaluate(e)
		switch {
		case denied:
			return Decision{Explicit: true, Source: ResourceBased}
		case found == unnamed:
			return Decision{Source: ResourceBased}
		case r.Principal.Kind != ServicePrincipal && (found == byAccount || !r.SameAccount):
			return Decision{Source: IdentityBased, Delegated: true}
		}
		return Decision{Allowed: true}
	})
}

// overResources decides for each resource by itself.
func overResources(r *Request, decide func(*evaluation) Decision) Decision {
	e := evaluation{principal: &r.Principal, action: strings.ToLower(r.Action), ctx: r.Context}
	if e.ctx == nil {
		e.ctx = Values(nil)
	}
	resources := r.Resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var answer Decision
	for i, resource := range resources {
		e.resource, e.name = resource, newName(resource)
		d := decide(&e)
		if d.Explicit {
			return d
		}
		if i == 0 || !answer.Allowed && (d.Allowed || d.Delegated && !answer.Delegated) {
			answer = d
		}
	}
	return answer
}

// verdicts are what the sets say, if none denies.
type verdicts struct {
	identity, boundary, session bool
	resource                    level
}

func (e *evaluation) decide(r *Request, s *Sets) Decision {
	v := verdicts{boundary: s.Boundary == nil, session: !s.HasSession}
	var denied bool
	if v.identity, denied = e.anyOf(s.Identity); denied {
		return Decision{Explicit: true, Source: IdentityBased}
	}
	for _, a := range s.Resource {
		found, denied := a.evaluate(e)
		if denied {
			return Decision{Explicit: true, Source: ResourceBased}
		}
		v.resource = max(v.resource, found)
	}
	if s.Boundary != nil {
		if v.boundary, denied = s.Boundary.evaluate(e); denied {
			return Decision{Explicit: true, Source: Boundary}
		}
	}
	if s.HasSession {
		if v.session, denied = e.anyOf(s.Session); denied {
			return Decision{Explicit: true, Source: SessionPolicy}
		}
	}
	if lacking := v.lacking(r, s); lacking != 0 {
		return Decision{Source: lacking}
	}
	return Decision{Allowed: true}
}

// lacking returns the set whose allow is missing, or 0.
func (v verdicts) lacking(r *Request, s *Sets) Source {
	kind := r.Principal.Kind
	switch {
	case kind == ServicePrincipal: // has no account and no policies of its own
		if v.resource == unnamed {
			return ResourceBased
		}
		return 0
	case s.ResourceDecides && v.resource == unnamed:
		return ResourceBased
	case r.SameAccount && (kind == RootUser || v.resource == directly):
		return 0
	}
	allowed := v.identity || kind == RootUser || r.SameAccount && v.resource == byRole
	switch {
	case !allowed:
		return IdentityBased
	case !v.boundary:
		return Boundary
	case !v.session:
		return SessionPolicy
	case !r.SameAccount && v.resource == unnamed:
		return ResourceBased
	}
	return 0
}
