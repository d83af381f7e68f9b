package policy

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// A pattern is text with wildcards and variables. It is cut into tokens first, then at the colons if it is one for
// ARNs, and then compiled to a glob:
//
//	token   literal text, "?", "*" or a variable
//	chunk   tokens without "*" between two "*"
//	glob    chunks; the first is bound to the start of the text, the last to its end
//
// Each chunk between is taken where it first matches, which never has to be revised: a match takes at most the product
// of the lengths of text and pattern. The value of a variable is literal, whatever it holds.

type tokenKind uint8

const (
	literal tokenKind = iota
	one               // "?", any one character
	star              // "*", any text
	variable
)

type token struct {
	kind tokenKind
	text string // of a literal
	ref  *reference
}

// reference is a variable: the value of a condition key, if it has exactly one.
type reference struct {
	key        string // in lower case
	value      string // if the key is absent
	hasDefault bool
}

func (r *reference) resolve(ctx Context) (string, bool) {
	values, ok := ctx.Values(r.key)
	switch {
	case !ok || len(values) == 0:
		return r.value, r.hasDefault
	case len(values) == 1:
		return values[0], true
	}
	return "", false
}

var errVariable = errors.New("holds a malformed variable")

// tokenize cuts a pattern. Without variables "${" is text, without wildcards "*" and "?" are.
func tokenize(text string, variables, wildcards bool) ([]token, error) {
	var out []token
	var lit strings.Builder
	flush := func(t token) {
		if lit.Len() > 0 {
			out = append(out, token{kind: literal, text: lit.String()})
			lit.Reset()
		}
		out = append(out, t)
	}
	for i := 0; i < len(text); i++ {
		switch {
		case variables && strings.HasPrefix(text[i:], "${"):
			length, escaped, ref, err := parseVariable(text[i:])
			if err != nil {
				return nil, err
			}
			if ref == nil {
				lit.WriteByte(escaped)
			} else {
				flush(token{kind: variable, ref: ref})
			}
			i += length - 1
		case wildcards && text[i] == '*':
			flush(token{kind: star})
		case wildcards && text[i] == '?':
			flush(token{kind: one})
		default:
			lit.WriteByte(text[i])
		}
	}
	if lit.Len() > 0 {
		out = append(out, token{kind: literal, text: lit.String()})
	}
	return out, nil
}

// parseVariable reads one of ${key}, ${key, 'default'}, ${*}, ${?} and ${$} at the start of text, and returns its
// length there. The last three have no reference but an escaped character.
func parseVariable(text string) (length int, escaped byte, ref *reference, err error) {
	body := text[2:]
	if len(body) >= 2 && body[1] == '}' && strings.IndexByte("*?$", body[0]) >= 0 {
		return 4, body[0], nil, nil
	}
	end := strings.IndexAny(body, ",}'{$*?")
	if end < 0 || !strings.Contains(body[:end], ":") {
		return 0, 0, nil, errVariable
	}
	ref = &reference{key: strings.ToLower(strings.TrimSpace(body[:end]))}
	if body[end] == '}' {
		return 2 + end + 1, 0, ref, nil
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(body[end+1:], " "), "'")
	value, rest, closed := strings.Cut(rest, "'")
	rest, ended := strings.CutPrefix(strings.TrimLeft(rest, " "), "}")
	if body[end] != ',' || !ok || !closed || !ended {
		return 0, 0, nil, errVariable
	}
	ref.value, ref.hasDefault = value, true
	return len(text) - len(rest), 0, ref, nil
}

type chunk []token

type glob []chunk

func newGlob(tokens []token) glob {
	g := glob{nil}
	for _, t := range tokens {
		if t.kind == star {
			g = append(g, nil)
			continue
		}
		g[len(g)-1] = append(g[len(g)-1], t)
	}
	return g
}

// any reports whether the glob matches every text.
func (g glob) any() bool {
	for _, c := range g {
		if len(c) > 0 {
			return false
		}
	}
	return len(g) > 1
}

func (g glob) match(s string, ctx Context) bool {
	end, ok := g[0].at(s, 0, ctx)
	if !ok || len(g) == 1 {
		return ok && end == len(s)
	}
	for _, c := range g[1 : len(g)-1] {
		if end, ok = c.find(s, end, ctx); !ok {
			return false
		}
	}
	return g[len(g)-1].ends(s, end, ctx)
}

// at returns where the chunk ends if it begins at i.
func (c chunk) at(s string, i int, ctx Context) (int, bool) {
	for _, t := range c {
		text := t.text
		switch t.kind {
		case one:
			if i == len(s) {
				return 0, false
			}
			_, n := utf8.DecodeRuneInString(s[i:])
			i += n
			continue
		case variable:
			text, _ = t.ref.resolve(ctx)
		}
		if !strings.HasPrefix(s[i:], text) {
			return 0, false
		}
		i += len(text)
	}
	return i, true
}

// find returns the end of the first place of the chunk from i on.
func (c chunk) find(s string, i int, ctx Context) (int, bool) {
	if len(c) == 1 && c[0].kind == literal {
		n := strings.Index(s[i:], c[0].text)
		return i + n + len(c[0].text), n >= 0
	}
	for ; i <= len(s); i++ {
		if end, ok := c.at(s, i, ctx); ok {
			return end, true
		}
	}
	return 0, false
}

// ends reports whether the chunk can be the end of s, from i on.
func (c chunk) ends(s string, i int, ctx Context) bool {
	if len(c) == 0 {
		return true
	}
	if len(c) == 1 && c[0].kind == literal {
		return strings.HasSuffix(s[i:], c[0].text)
	}
	for ; i <= len(s); i++ {
		if end, ok := c.at(s, i, ctx); ok && end == len(s) {
			return true
		}
	}
	return false
}
