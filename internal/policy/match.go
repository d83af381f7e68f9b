package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// order is a set of results of a comparison.
type order struct{ less, equal, greater bool }

func orderOf(name string) order {
	return order{
		less:    strings.HasPrefix(name, "lessthan"),
		equal:   strings.HasSuffix(name, "equals"),
		greater: strings.HasPrefix(name, "greaterthan"),
	}
}

func (o order) has(comparison int) bool {
	return comparison < 0 && o.less || comparison == 0 && o.equal || comparison > 0 && o.greater
}

type numbers struct {
	order  order
	values []decimal
}

func (m *numbers) match(value string, _ Context) bool {
	d, ok := parseDecimal(value)
	return ok && slices.ContainsFunc(m.values, func(o decimal) bool { return m.order.has(d.compare(o)) })
}

type dates struct {
	order  order
	values []time.Time
}

func (m *dates) match(value string, _ Context) bool {
	t, ok := parseDate(value)
	return ok && slices.ContainsFunc(m.values, func(o time.Time) bool { return m.order.has(t.Compare(o)) })
}

type booleans []bool

func (m booleans) match(value string, _ Context) bool {
	b, ok := parseBool(value)
	return ok && slices.Contains(m, b)
}

func parseBool(text string) (value, ok bool) {
	value = strings.EqualFold(text, "true")
	return value, value || strings.EqualFold(text, "false")
}

type binaries [][]byte

func (m binaries) match(value string, _ Context) bool {
	b, ok := parseBinary(value)
	return ok && slices.ContainsFunc(m, func(o []byte) bool { return bytes.Equal(b, o) })
}

func parseBinary(text string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(text)
	return b, err == nil
}

type networks []netip.Prefix

func (m networks) match(value string, _ Context) bool {
	a, err := netip.ParseAddr(value)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(m, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parsePrefix takes a range, or an address, which is the range of itself.
func parsePrefix(text string) (netip.Prefix, bool) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return p.Masked(), err == nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

// globs are the values of StringEquals and StringLike that hold wildcards or variables; exact are the others.
type globs struct {
	exact []string
	globs []glob
}

func newTexts(values []string, variables, wildcards bool) (matcher, []*reference, error) {
	m := &globs{}
	var refs []*reference
	for _, v := range values {
		tokens, err := tokenize(v, variables, wildcards)
		if err != nil {
			return nil, nil, &valueError{v, err}
		}
		if text, ok := literalOf(tokens); ok {
			m.exact = append(m.exact, text)
			continue
		}
		m.globs = append(m.globs, newGlob(tokens))
		refs = append(refs, references(tokens)...)
	}
	return m, refs, nil
}

// literalOf returns the text of a pattern that is nothing but text.
func literalOf(tokens []token) (string, bool) {
	var b strings.Builder
	for _, t := range tokens {
		if t.kind != literal {
			return "", false
		}
		b.WriteString(t.text)
	}
	return b.String(), true
}

func (m *globs) match(value string, ctx Context) bool {
	return slices.Contains(m.exact, value) ||
		slices.ContainsFunc(m.globs, func(g glob) bool { return g.match(value, ctx) })
}

// folds are texts that match in any case.
type folds [][]token

func newFolds(values []string, variables bool) (matcher, []*reference, error) {
	var m folds
	var refs []*reference
	for _, v := range values {
		tokens, err := tokenize(v, variables, false)
		if err != nil {
			return nil, nil, &valueError{v, err}
		}
		m = append(m, tokens)
		refs = append(refs, references(tokens)...)
	}
	return m, refs, nil
}

func (m folds) match(value string, ctx Context) bool {
	return slices.ContainsFunc(m, func(tokens []token) bool { return strings.EqualFold(expand(tokens, ctx), value) })
}

func expand(tokens []token, ctx Context) string {
	if len(tokens) == 1 && tokens[0].kind == literal {
		return tokens[0].text
	}
	var b strings.Builder
	for _, t := range tokens {
		text := t.text
		if t.kind == variable {
			text, _ = t.ref.resolve(ctx)
		}
		b.WriteString(text)
	}
	return b.String()
}

type arns []*arnPattern

func newARNs(values []string, variables bool) (matcher, []*reference, error) {
	var m arns
	var all []*reference
	for _, v := range values {
		p, refs, err := newARNPattern(v, variables)
		if err != nil {
			return nil, nil, &valueError{v, err}
		}
		m = append(m, p)
		all = append(all, refs...)
	}
	return m, all, nil
}

func (m arns) match(value string, ctx Context) bool {
	n := newName(value)
	return slices.ContainsFunc(m, func(p *arnPattern) bool { return p.match(value, &n, ctx) })
}
