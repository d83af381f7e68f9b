package policy

import (
	"errors"
	"strings"
)

const arnParts = 6

// name is an ARN cut at its first five colons. Other texts, such as the "*" of actions without a resource, have no
// parts.
type name struct {
	parts [arnParts]string
	isARN bool
}

func newName(text string) name {
	var n name
	for i := range arnParts - 1 {
		part, rest, ok := strings.Cut(text, ":")
		if !ok {
			return name{}
		}
		n.parts[i], text = part, rest
	}
	n.parts[arnParts-1] = text
	n.isARN = true
	return n
}

// arnPattern matches ARNs part by part: a "*" in one part never reaches into the next, except that the sixth keeps its
// colons.
type arnPattern struct {
	all   bool           // "*", matches what is not an ARN, too
	whole glob           // a variable that stands for an ARN
	parts [arnParts]glob // nil matches any
}

var errARN = errors.New(`must be in ARN format or "*"`)

// newARNPattern compiles a pattern. One that has fewer than six parts and ends in "*" means "*" for the missing ones.
func newARNPattern(text string, variables bool) (*arnPattern, []*reference, error) {
	tokens, err := tokenize(text, variables, true)
	if err != nil {
		return nil, nil, err
	}
	if len(tokens) == 0 {
		return nil, nil, errARN
	}
	refs := references(tokens)
	if newGlob(tokens).any() {
		return &arnPattern{all: true}, refs, nil
	}
	parts := splitParts(tokens)
	if len(parts) < arnParts {
		if tokens[0].kind == variable {
			return &arnPattern{whole: newGlob(tokens)}, refs, nil
		}
		if tokens[len(tokens)-1].kind != star {
			return nil, nil, errARN
		}
	}
	if len(references(parts[0])) > 0 || !newGlob(parts[0]).match("arn", nil) {
		return nil, nil, errARN
	}
	p := &arnPattern{}
	for i, part := range parts {
		if g := newGlob(part); !g.any() {
			p.parts[i] = g
		}
	}
	return p, refs, nil
}

// splitParts cuts at the first five colons of literal text.
func splitParts(tokens []token) [][]token {
	parts := [][]token{nil}
	add := func(t token) { parts[len(parts)-1] = append(parts[len(parts)-1], t) }
	for _, t := range tokens {
		if t.kind != literal {
			add(t)
			continue
		}
		pieces := strings.SplitN(t.text, ":", arnParts+1-len(parts))
		for i, piece := range pieces {
			if i > 0 {
				parts = append(parts, nil)
			}
			if piece != "" {
				add(token{kind: literal, text: piece})
			}
		}
	}
	return parts
}

func references(tokens []token) []*reference {
	var out []*reference
	for _, t := range tokens {
		if t.kind == variable {
			out = append(out, t.ref)
		}
	}
	return out
}

// match takes the text and its parts, so that callers cut only once.
func (p *arnPattern) match(text string, n *name, ctx Context) bool {
	if p.all {
		return true
	}
	if !n.isARN {
		return false
	}
	if p.whole != nil {
		return p.whole.match(text, ctx)
	}
	for i := range p.parts {
		if g := p.parts[i]; g != nil && !g.match(n.parts[i], ctx) {
			return false
		}
	}
	return true
}
