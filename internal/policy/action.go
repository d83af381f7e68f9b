package policy

import (
	"fmt"
	"slices"
	"strings"
)

// actions are patterns in lower case.
type actions struct {
	exact []string // sorted
	globs []glob
}

func (a *actions) match(action string) bool {
	if _, ok := slices.BinarySearch(a.exact, action); ok {
		return true
	}
	return slices.ContainsFunc(a.globs, func(g glob) bool { return g.match(action, nil) })
}

// what compiles Action and NotAction.
func (c *compiler) what(o object, s *statement) error {
	value, negated, ok, err := c.either(o, "Action")
	if err != nil {
		return err
	}
	if negated && (c.kind == Trust || c.kind == Vault) {
		return &Error{"Has prohibited field NotAction"}
	}
	list, valid := texts(value)
	if !ok || valid && len(list) == 0 {
		return &Error{"Policy statement must contain actions."}
	}
	if !valid {
		return c.syntax("Action must be a string or an array of strings")
	}
	s.notAction = negated
	for _, text := range list {
		if err := c.checkAction(text); err != nil {
			return err
		}
		text = strings.ToLower(text)
		tokens, _ := tokenize(text, false, true) // fails for variables only
		if _, ok := literalOf(tokens); ok {
			s.actions.exact = append(s.actions.exact, text)
		} else {
			s.actions.globs = append(s.actions.globs, newGlob(tokens))
		}
	}
	slices.Sort(s.actions.exact)
	return nil
}

func (c *compiler) checkAction(text string) error {
	vendor, action, ok := strings.Cut(text, ":")
	vendor = strings.ToLower(vendor)
	switch {
	case c.kind == Vault && strings.ContainsAny(text, "*?"):
		return &Error{fmt.Sprintf("A wildcard is not supported in the actions of a vault access policy: %q", text)}
	case c.kind == Vault && vendor != "backup":
		return &Error{fmt.Sprintf("A vault access policy can hold actions of backup only: %q", text)}
	case c.kind == Trust && vendor != "sts":
		return &Error{"AssumeRole policy may only specify STS AssumeRole actions."}
	case text == "*":
		return nil
	case !ok:
		return &Error{"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."}
	case strings.Contains(action, ":"):
		return &Error{"Actions/Condition can contain only one colon."}
	case vendor != "*" && !isWord(vendor, "-."):
		return &Error{fmt.Sprintf("Vendor %s is not valid", vendor)}
	case !isWord(action, "-._*?"):
		return c.syntax("%q is not an action", text)
	}
	return nil
}

// isWord reports whether s is a word of letters, digits and the extra characters.
func isWord(s, extra string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune(extra, r)
	})
}
