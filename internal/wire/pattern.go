package wire

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression for the whole of a string. It is compiled when it is needed first: there are dozens, of which
// a short command needs a few, and compiling all would be a good part of its work.
type Pattern struct {
	text    string
	compile func() *regexp.Regexp
}

// NewPattern returns the pattern of a text. A dot matches line feeds, too. A text that is no regular expression panics in
// [Pattern.MatchString].
func NewPattern(text string) *Pattern {
	return &Pattern{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\A(?s:` + text + `)\z`) })}
}

// MatchString reports whether the pattern matches the whole of s. It may be called concurrently.
func (p *Pattern) MatchString(s string) bool { return p.compile().MatchString(s) }

// String returns the text of the pattern.
func (p *Pattern) String() string { return p.text }
