package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/arn"
)

// PrincipalKind says what a principal is.
type PrincipalKind uint8

const (
	// RootUser is the owner of an account.
	RootUser PrincipalKind = iota + 1
	// User is an IAM user.
	User
	// RoleSession is who assumed a role.
	RoleSession
	// ServicePrincipal is a service that acts for itself.
	ServicePrincipal
)

// Principal is who asks.
type Principal struct {
	Kind    PrincipalKind
	ARN     string // arn:aws:iam::A:root, of the user, or arn:aws:sts::A:assumed-role/R/S; of a service its name
	RoleARN string // of a session
	ID      string // unique id: AIDA..., AROA...:session; the account for root
	Account string // empty for a service
}

// roleID returns the unique id of the role of a session.
func (p *Principal) roleID() string {
	id, _, _ := strings.Cut(p.ID, ":")
	return id
}

// level is how closely a policy names a principal, the closest last.
type level uint8

const (
	unnamed level = iota
	byAccount
	byRole
	directly
)

// principals are the principals that a statement names.
type principals struct {
	all      bool
	accounts []string
	users    []string
	roles    []string
	sessions []string
	ids      []string
	services []string
}

// level returns how the principals name p. The unique id that an ARN had when the policy was put, if known, decides in
// place of the ARN: who has the name today may be somebody else.
func (s *principals) level(p *Principal, ids map[string]string) level {
	if s.all {
		return directly
	}
	if p.Kind == ServicePrincipal {
		return when(slices.Contains(s.services, p.ARN), directly)
	}
	found := when(slices.Contains(s.accounts, p.Account), byAccount)
	switch p.Kind {
	case User:
		return max(found, when(slices.Contains(s.ids, p.ID) || named(s.users, ids, p.ARN, p.ID), directly))
	case RoleSession:
		role := p.roleID()
		return max(found, when(slices.Contains(s.ids, role) || named(s.roles, ids, p.RoleARN, role), byRole),
			when(namedSession(s.sessions, ids, p), directly))
	}
	return found
}

func when(ok bool, l level) level {
	if ok {
		return l
	}
	return unnamed
}

func named(arns []string, ids map[string]string, own, id string) bool {
	return slices.ContainsFunc(arns, func(a string) bool {
		if stored := ids[a]; stored != "" {
			return stored == id
		}
		return a == own
	})
}

// namedSession needs the ARN to be the same whatever the id is, since that may be the one of the role.
func namedSession(arns []string, ids map[string]string, p *Principal) bool {
	return slices.ContainsFunc(arns, func(a string) bool {
		stored := ids[a]
		return a == p.ARN && (stored == "" || stored == p.ID || stored == p.roleID())
	})
}

// exempts reports whether a NotPrincipal of these leaves p alone. Naming an account there names its root user only.
func (s *principals) exempts(p *Principal, ids map[string]string) bool {
	l := s.level(p, ids)
	return l > byAccount || l == byAccount && p.Kind == RootUser
}

// principals compiles the value of Principal or NotPrincipal.
func (c *compiler) principals(value any) (*principals, error) {
	out := &principals{}
	if value == "*" {
		out.all = true
		c.names("*")
		return out, nil
	}
	kinds, ok := value.(object)
	if !ok || len(kinds) == 0 {
		return nil, invalidPrincipal("%s", describe(value))
	}
	for _, kind := range kinds {
		values, ok := texts(kind.value)
		if !ok || len(values) == 0 {
			return nil, invalidPrincipal("%q", kind.name)
		}
		for _, v := range values {
			if !out.add(kind.name, v) {
				return nil, invalidPrincipal("%q:%q", strings.ToUpper(kind.name), v)
			}
			if kind.name == "AWS" && v == "*" {
				c.names("*")
			} else {
				c.names(kind.name + ":" + v)
			}
		}
	}
	return out, nil
}

// names adds to the principals of the document.
func (c *compiler) names(principal string) {
	if !slices.Contains(c.doc.principals, principal) {
		c.doc.principals = append(c.doc.principals, principal)
	}
}

func invalidPrincipal(format string, args ...any) *Error {
	return &Error{"Invalid principal in policy: " + fmt.Sprintf(format, args...)}
}

func describe(value any) string {
	if s, ok := value.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return `it must be "*" or an object`
}

func (s *principals) add(kind, value string) bool {
	switch kind {
	case "AWS":
		return s.addAWS(value)
	case "Service":
		s.services = append(s.services, value)
		return isServiceName(value)
	case "Federated": // names a provider of identities; no principal here comes from one
		return value != "" && !strings.ContainsAny(value, "*?$ ")
	}
	return false
}

func (s *principals) addAWS(value string) bool {
	switch {
	case value == "*":
		s.all = true
		return true
	case isAccount(value):
		s.accounts = append(s.accounts, value)
		return true
	case isUniqueID(value):
		s.ids = append(s.ids, value)
		return true
	}
	a, err := arn.Parse(value)
	if err != nil || a.Region != "" || !isAccount(a.Account) || strings.ContainsAny(a.Resource, "*?$ ") {
		return false
	}
	kind, id, _ := strings.Cut(a.Resource, "/")
	switch {
	case a.Service == "iam" && a.Resource == "root":
		s.accounts = append(s.accounts, a.Account)
	case id == "" || strings.HasPrefix(id, "/") || strings.HasSuffix(id, "/"):
		return false
	case a.Service == "iam" && kind == "user":
		s.users = append(s.users, value)
	case a.Service == "iam" && kind == "role":
		s.roles = append(s.roles, value)
	case a.Service == "sts" && kind == "assumed-role" && strings.Count(id, "/") == 1:
		s.sessions = append(s.sessions, value)
	default:
		return false
	}
	return true
}

func isAccount(s string) bool { return len(s) == 12 && allDigits(s) }

// isUniqueID reports whether s has the form of the unique id of a user or a role.
func isUniqueID(s string) bool {
	const prefix = len("AIDA")
	if len(s) < 16 || s[:prefix] != "AIDA" && s[:prefix] != "AROA" {
		return false
	}
	return !strings.ContainsFunc(s[prefix:], func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
}

// isServiceName reports whether s has the form of backup.amazonaws.com.
func isServiceName(s string) bool {
	return strings.Contains(s, ".") && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") &&
		!strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-'
		})
}
