package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// statement is compiled. What is nil or empty is not in the text.
type statement struct {
	allow         bool
	principals    *principals
	notPrincipals *principals
	actions       actions
	notAction     bool
	resources     []*arnPattern // none: any resource
	notResource   bool
	conditions    []condition
	references    []*reference // all variables
}

// compiler makes a document of its JSON.
type compiler struct {
	kind      Kind
	doc       *Document
	variables bool     // the version has them
	number    int      // of the statement, for messages
	sids      []string // so far
}

func (c *compiler) document(root any) error {
	o, ok := root.(object)
	if !ok {
		return syntaxError("It must be an object.")
	}
	for _, m := range o {
		if !slices.Contains([]string{"Version", "Id", "Statement"}, m.name) {
			return syntaxError("Unknown element %q.", m.name)
		}
	}
	if id, ok := o.get("Id"); ok {
		if _, ok := id.(string); !ok {
			return syntaxError("Id must be a string.")
		}
	}
	if version, ok := o.get("Version"); ok {
		if version != "2008-10-17" && version != "2012-10-17" {
			return &Error{"The policy must contain a valid version string"}
		}
		c.variables = version == "2012-10-17"
	}
	value, _ := o.get("Statement")
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	if len(list) == 0 {
		return syntaxError("It has no statement.")
	}
	for i, value := range list {
		c.number = i + 1
		if err := c.statement(value); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) statement(value any) error {
	o, ok := value.(object)
	if !ok {
		return c.syntax("it must be an object")
	}
	for _, m := range o {
		switch m.name {
		case "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
			"Condition":
		default:
			return c.syntax("unknown element %q", m.name)
		}
	}
	var s statement
	effect, ok := o.get("Effect")
	if !ok {
		return &Error{"Missing required field Effect"}
	}
	if effect != "Allow" && effect != "Deny" {
		return c.syntax(`Effect must be "Allow" or "Deny"`)
	}
	s.allow = effect == "Allow"
	for _, compile := range []func(object, *statement) error{
		c.sid, c.whom, c.what, c.where, c.conditions,
	} {
		if err := compile(o, &s); err != nil {
			return err
		}
	}
	c.doc.statements = append(c.doc.statements, s)
	for _, ref := range s.references {
		c.doc.keys = append(c.doc.keys, ref.key)
	}
	for _, cond := range s.conditions {
		c.doc.keys = append(c.doc.keys, cond.key)
	}
	return nil
}

func (c *compiler) syntax(format string, args ...any) *Error {
	return syntaxError("Statement %d: %s.", c.number, fmt.Sprintf(format, args...))
}

// sid checks the name of a statement. Policies of resources may use any text, as the default key policy of KMS does.
func (c *compiler) sid(o object, _ *statement) error {
	value, ok := o.get("Sid")
	if !ok || value == "" {
		return nil
	}
	sid, ok := value.(string)
	if !ok {
		return c.syntax("Sid must be a string")
	}
	if c.kind == Identity || c.kind == Trust {
		if strings.ContainsFunc(sid, func(r rune) bool { return !isAlphanumeric(r) }) {
			return &Error{"Statement IDs (SID) must be alpha-numeric. " +
				"Check that your input satisfies the regular expression [0-9A-Za-z]*"}
		}
	}
	if slices.Contains(c.sids, sid) {
		return &Error{"Statement IDs (SID) in a single policy must be unique."}
	}
	c.sids = append(c.sids, sid)
	return nil
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// either returns the value of an element or of the one that is its complement.
func (c *compiler) either(o object, name string) (value any, negated, ok bool, err error) {
	value, ok = o.get(name)
	other, negated := o.get("Not" + name)
	if ok && negated {
		return nil, false, false, c.syntax("it must not have both %s and Not%s", name, name)
	}
	if negated {
		value = other
	}
	return value, negated, ok || negated, nil
}

// whom compiles Principal and NotPrincipal.
func (c *compiler) whom(o object, s *statement) error {
	value, negated, ok, err := c.either(o, "Principal")
	switch {
	case err != nil:
		return err
	case c.kind == Identity && ok:
		return &Error{"Policy document should not specify a principal."}
	case c.kind == Identity:
		return nil
	case !ok:
		return &Error{"Missing required field Principal"}
	case negated && s.allow:
		return c.syntax("NotPrincipal goes with Deny only")
	}
	p, err := c.principals(value)
	if negated {
		s.notPrincipals = p
	} else {
		s.principals = p
	}
	return err
}

// where compiles Resource and NotResource.
func (c *compiler) where(o object, s *statement) error {
	value, negated, ok, err := c.either(o, "Resource")
	switch {
	case err != nil:
		return err
	case c.kind == Trust && negated:
		return &Error{"Has prohibited field NotResource"}
	case c.kind == Trust && ok:
		return &Error{"Has prohibited field Resource"}
	case c.kind == Trust:
		return nil
	}
	list, valid := texts(value)
	switch {
	case (!ok || valid && len(list) == 0) && c.kind == Identity:
		return &Error{"Policy statement must contain resources."}
	case !ok || valid && len(list) == 0:
		return &Error{"Missing required field Resource"}
	case !valid:
		return c.syntax("Resource must be a string or an array of strings")
	}
	s.notResource = negated
	for _, text := range list {
		p, refs, err := newARNPattern(text, c.variables)
		if errors.Is(err, errARN) {
			return &Error{fmt.Sprintf("Resource %s %v.", text, err)}
		}
		if err != nil {
			return c.syntax("%q %v", text, err)
		}
		s.resources = append(s.resources, p)
		s.references = append(s.references, refs...)
	}
	return nil
}
