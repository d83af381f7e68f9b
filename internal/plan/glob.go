package plan

import (
	"strings"
	"unicode"
)

// like reports whether a text has the form of a pattern, in which "*" stands for any number of characters that are not
// white space. Nothing else is special.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html.
func like(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	text, ok := strings.CutPrefix(text, first)
	if !ok || !wild {
		return ok && text == ""
	}
	// What the pattern goes on with may be found in several places; the last piece must be at the end.
	for rest != "" {
		piece, more, again := strings.Cut(rest, "*")
		if !again {
			cut, ok := strings.CutSuffix(text, piece)
			return ok && solid(cut)
		}
		i := strings.Index(text, piece)
		if i < 0 || !solid(text[:i]) {
			return false
		}
		text, rest = text[i+len(piece):], more
	}
	return solid(text)
}

// solid reports whether a text is without white space.
func solid(text string) bool { return strings.IndexFunc(text, unicode.IsSpace) < 0 }

// likeARN is like for ARNs. A region or an account that the pattern leaves empty is any.
func likeARN(pattern, arn string) bool {
	if like(pattern, arn) {
		return true
	}
	parts := strings.SplitN(pattern, ":", 6)
	if len(parts) < 6 || parts[3] != "" && parts[4] != "" {
		return false
	}
	for i := 3; i <= 4; i++ {
		if parts[i] == "" {
			parts[i] = "*"
		}
	}
	return like(strings.Join(parts, ":"), arn)
}

// namesType reports whether a pattern for ARNs is about one type of resources, or one resource: then it selects them whether
// or not the account has opted in for the type. ARNs of a form that several types share do not.
//
// See https://docs.aws.amazon.com/aws-backup/latest/devguide/assigning-resources.html.
func namesType(pattern string) bool {
	parts := strings.SplitN(pattern, ":", 6)
	if len(parts) < 6 || strings.Contains(parts[2], "*") {
		return false
	}
	literal, _, wild := strings.Cut(parts[5], "*")
	shared := parts[2] == "rds" && strings.HasPrefix(literal, "cluster") || parts[2] == "fsx"
	return !shared && (!wild || strings.ContainsAny(literal, ":/"))
}
