package restjson

import (
	"cmp"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/operation"
	"github.com/lockfast/lockfast/internal/sigv4"
)

// routes finds the operation of a request.
//
// Paths are matched as they were received: split at slashes first, every segment unescaped once afterwards, so that an escaped ARN with a
// slash is one segment. A slash at the end makes no difference. Three rules are tried, and the first that finds an operation counts:
//
//  1. every segment matches, labels are not empty;
//  2. an ARN whose slashes were not escaped takes as many segments as it needs;
//  3. labels may be empty, which tells a request for "nothing" from a request for an unknown path.
type routes struct {
	all []*route // more literal ones first
}

// route is the pattern of one operation.
type route struct {
	handler  *operation.Handler
	segments []segment
	query    string // a key that must be in the query string, if not empty
}

// segment is a literal, or a label with the index of its member.
type segment struct {
	literal string
	member  int  // -1 for a literal
	arn     bool // a label that takes an ARN
}

// match is a route with the values of its labels.
type match struct {
	*route
	labels []string // by segment
}

func (rs *routes) add(h *operation.Handler) {
	path, query, _ := strings.Cut(h.Descriptor.Path, "?")
	r := &route{handler: h, query: query}
	for _, text := range splitPath(path, false) {
		s := segment{literal: text, member: -1}
		if name, ok := strings.CutPrefix(text, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			s = segment{member: labelMember(h, name), arn: strings.HasSuffix(strings.ToLower(name), "arn")}
		}
		r.segments = append(r.segments, s)
	}
	rs.all = append(rs.all, r)
	slices.SortStableFunc(rs.all, func(a, b *route) int { return cmp.Compare(b.literals(), a.literals()) })
}

func labelMember(h *operation.Handler, name string) int {
	for i, m := range h.Descriptor.Input.Members {
		if m.WireName() == name {
			return i
		}
	}
	panic("restjson: operation " + h.Descriptor.Name + " has no member for label " + name)
}

// literals counts what must be in a request for the route to match.
func (r *route) literals() int {
	n := 0
	for _, s := range r.segments {
		if s.member < 0 {
			n++
		}
	}
	if r.query != "" {
		n++
	}
	return n
}

// splitPath splits a raw path into its segments, still escaped. One empty segment at the end is dropped unless it is to be kept.
func splitPath(path string, keepEnd bool) []string {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if last := len(segments) - 1; segments[last] == "" && !keepEnd {
		segments = segments[:last]
	}
	return segments
}

// find returns the route for a request, or nil.
func (rs *routes) find(method, path, rawQuery string) *match {
	segments := unescapeAll(splitPath(path, false))
	candidates := rs.candidates(method, rawQuery)
	for _, r := range candidates {
		if m := r.match(segments, false); m != nil {
			return m
		}
	}
	for _, r := range candidates {
		if m := r.matchLongARN(segments); m != nil {
			return m
		}
	}
	for _, keepEnd := range []bool{false, true} {
		segments = unescapeAll(splitPath(path, keepEnd))
		for _, r := range candidates {
			if m := r.match(segments, true); m != nil {
				return m
			}
		}
	}
	return nil
}

func (rs *routes) candidates(method, rawQuery string) []*route {
	var found []*route
	for _, r := range rs.all {
		if r.handler.Descriptor.Method == method && (r.query == "" || hasKey(rawQuery, r.query)) {
			found = append(found, r)
		}
	}
	return found
}

func hasKey(rawQuery, key string) bool {
	return slices.ContainsFunc(sigv4.Parameters(rawQuery), func(p sigv4.Parameter) bool { return p.Key == key })
}

func unescapeAll(segments []string) []string {
	for i, s := range segments {
		segments[i] = sigv4.Unescape(s)
	}
	return segments
}

func (r *route) match(segments []string, empty bool) *match {
	if len(segments) != len(r.segments) {
		return nil
	}
	for i, s := range r.segments {
		if s.member < 0 && s.literal != segments[i] || s.member >= 0 && segments[i] == "" && !empty {
			return nil
		}
	}
	return &match{route: r, labels: segments}
}

// matchLongARN lets the first label that is given an ARN take the segments that are too many.
func (r *route) matchLongARN(segments []string) *match {
	extra := len(segments) - len(r.segments)
	if extra <= 0 {
		return nil
	}
	for i, s := range r.segments {
		if !s.arn || !strings.HasPrefix(segments[i], "arn:") {
			continue
		}
		joined := slices.Concat(segments[:i], []string{strings.Join(segments[i:i+extra+1], "/")}, segments[i+extra+1:])
		return r.match(joined, false)
	}
	return nil
}
