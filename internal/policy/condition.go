package policy

import (
	"errors"
	"slices"
	"strings"
)

// Context are the condition keys of a request. Keys are asked for in lower case, and only when a policy needs them. A
// key without values is absent. The values must not change during an evaluation. An implementation must be safe for as
// many goroutines as evaluate with it.
type Context interface {
	Values(key string) (values []string, ok bool)
}

// Values is a simple [Context]: a map by keys in lower case.
type Values map[string][]string

// Values returns the values of a key.
func (v Values) Values(key string) ([]string, bool) {
	values, ok := v[key]
	return values, ok
}

type quantifier uint8

const (
	plain quantifier = iota
	forAllValues
	forAnyValue
)

// condition is one key below one operator. All conditions of a statement must hold.
type condition struct {
	key        string // in lower case
	quantifier quantifier
	ifExists   bool
	negated    bool
	matcher    matcher // nil for Null
	null       [2]bool // which of "false" and "true" Null is given
}

// matcher reports whether a value of the request matches one of the values of the policy. Negation is the condition's.
type matcher interface {
	match(value string, ctx Context) bool
}

func (c *condition) holds(ctx Context) bool {
	values, ok := ctx.Values(c.key)
	if !ok {
		values = nil
	}
	absent := len(values) == 0
	switch {
	case c.matcher == nil:
		return absent && c.null[1] || !absent && c.null[0]
	case absent && c.ifExists:
		return true
	case c.quantifier == forAllValues:
		return !slices.ContainsFunc(values, func(v string) bool { return c.matcher.match(v, ctx) == c.negated })
	case c.quantifier == forAnyValue:
		return slices.ContainsFunc(values, func(v string) bool { return c.matcher.match(v, ctx) != c.negated })
	}
	return slices.ContainsFunc(values, func(v string) bool { return c.matcher.match(v, ctx) }) != c.negated
}

// operator is the name of an operator taken apart.
type operator struct {
	base       string // in lower case, without negation
	negated    bool
	ifExists   bool
	quantifier quantifier
}

// parseOperator takes names in any case, as AWS does.
func parseOperator(text string) (operator, bool) {
	var o operator
	s := strings.ToLower(text)
	if rest, ok := strings.CutPrefix(s, "forallvalues:"); ok {
		o.quantifier, s = forAllValues, rest
	} else if rest, ok := strings.CutPrefix(s, "foranyvalue:"); ok {
		o.quantifier, s = forAnyValue, rest
	}
	s, o.ifExists = strings.CutSuffix(s, "ifexists")
	o.base = s
	for _, family := range [...]string{"string", "numeric", "date", "arn"} {
		if rest, ok := strings.CutPrefix(s, family+"not"); ok {
			o.base, o.negated = family+rest, true
		}
	}
	if s == "notipaddress" {
		o.base, o.negated = "ipaddress", true
	}
	if o.base == "null" {
		return o, !o.ifExists && o.quantifier == plain
	}
	positive := o.base != "" && !o.negated
	switch o.base {
	case "stringequals", "stringequalsignorecase", "stringlike", "numericequals", "dateequals", "arnequals", "arnlike",
		"ipaddress":
		return o, true
	case "numericlessthan", "numericlessthanequals", "numericgreaterthan", "numericgreaterthanequals", "datelessthan",
		"datelessthanequals", "dategreaterthan", "dategreaterthanequals", "bool", "binaryequals":
		return o, positive
	}
	return o, false
}

// conditions compiles Condition.
func (c *compiler) conditions(o object, s *statement) error {
	value, ok := o.get("Condition")
	if !ok {
		return nil
	}
	operators, ok := value.(object)
	if !ok {
		return c.syntax("Condition must be an object")
	}
	for _, m := range operators {
		op, ok := parseOperator(m.name)
		if !ok {
			return c.syntax("unknown condition operator %q", m.name)
		}
		keys, ok := m.value.(object)
		if !ok {
			return c.syntax("the value of %s must be an object", m.name)
		}
		for _, key := range keys {
			if err := c.condition(op, m.name, key, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) condition(op operator, opName string, key member, s *statement) error {
	if vendor, rest, ok := strings.Cut(key.name, ":"); !ok || vendor == "" || rest == "" {
		return c.syntax("condition key %q has no prefix such as aws:", key.name)
	}
	values, ok := scalars(key.value)
	if !ok {
		return c.syntax("the values of %s must be strings, numbers or booleans", key.name)
	}
	cond := condition{
		key: strings.ToLower(key.name), quantifier: op.quantifier, ifExists: op.ifExists, negated: op.negated,
	}
	var refs []*reference
	var err error
	if op.base == "null" {
		cond.null, err = newNull(values)
	} else {
		cond.matcher, refs, err = newMatcher(op.base, values, c.variables)
	}
	if err != nil {
		return c.syntax("in %s of %s, %v", opName, key.name, err)
	}
	s.conditions = append(s.conditions, cond)
	s.references = append(s.references, refs...)
	return nil
}

// newMatcher compiles the values for an operator. Variables are for the operators of strings and ARNs only:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html.
func newMatcher(base string, values []string, variables bool) (matcher, []*reference, error) {
	switch base {
	case "stringequals":
		return newTexts(values, variables, false)
	case "stringlike":
		return newTexts(values, variables, true)
	case "stringequalsignorecase":
		return newFolds(values, variables)
	case "arnequals", "arnlike":
		return newARNs(values, variables)
	case "bool":
		m, err := compileAll(values, "a boolean", parseBool)
		return booleans(m), nil, err
	case "binaryequals":
		m, err := compileAll(values, "base64", parseBinary)
		return binaries(m), nil, err
	case "ipaddress":
		m, err := compileAll(values, "an IP address or range", parsePrefix)
		return networks(m), nil, err
	}
	if rest, ok := strings.CutPrefix(base, "numeric"); ok {
		m, err := compileAll(values, "a number", parseDecimal)
		return &numbers{orderOf(rest), m}, nil, err
	}
	m, err := compileAll(values, "a date", parseDate)
	return &dates{orderOf(strings.TrimPrefix(base, "date")), m}, nil, err
}

func compileAll[T any](values []string, what string, parse func(string) (T, bool)) ([]T, error) {
	out := make([]T, 0, len(values))
	for _, v := range values {
		t, ok := parse(v)
		if !ok {
			return nil, &valueError{v, errors.New("is not " + what)}
		}
		out = append(out, t)
	}
	return out, nil
}

// valueError names a value of a condition that its operator cannot take.
type valueError struct {
	value string
	cause error
}

func (e *valueError) Error() string { return `"` + e.value + `" ` + e.cause.Error() }

func newNull(values []string) (null [2]bool, err error) {
	list, err := compileAll(values, "a boolean", parseBool)
	return [2]bool{slices.Contains(list, false), slices.Contains(list, true)}, err
}
