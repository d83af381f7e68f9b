package meta

import (
	"strconv"
	"strings"
)

// rewrite copies SQL, passing what stands outside of string literals, quoted
// identifiers and comments through f in pieces: single bytes, or whole words.
func rewrite(text string, f func(out *strings.Builder, piece string)) string {
	var out strings.Builder
	out.Grow(len(text) + 16)
	for text != "" {
		n, code := piece(text)
		if code {
			f(&out, text[:n])
		} else {
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}

// piece measures the first piece of text and says whether it is code.
func piece(text string) (n int, code bool) {
	switch c := text[0]; {
	case c == '\'' || c == '"':
		// A doubled quote inside reads as two literals side by side.
		return through(text, 1, text[:1]), false
	case strings.HasPrefix(text, "--"):
		return through(text, 2, "\n"), false
	case strings.HasPrefix(text, "/*"):
		return through(text, 2, "*/"), false
	case isWord(c):
		n = 1
		for n < len(text) && isWord(text[n]) {
			n++
		}
		return n, true
	}
	return 1, true
}

// through is the length of text up to and including the first end at or after from.
func through(text string, from int, end string) int {
	i := strings.Index(text[from:], end)
	if i < 0 {
		return len(text)
	}
	return from + i + len(end)
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// postgresQuery replaces '?' placeholders by $1, $2 ..., and BLOB by BYTEA.
func postgresQuery(text string) string {
	if !strings.Contains(text, "?") && !strings.Contains(text, "BLOB") {
		return text
	}
	n := 0
	return rewrite(text, func(out *strings.Builder, piece string) {
		switch piece {
		case "?":
			n++
			out.WriteByte('$')
			out.WriteString(strconv.Itoa(n))
		case "BLOB":
			out.WriteString("BYTEA")
		default:
			out.WriteString(piece)
		}
	})
}

// postgresTypes replaces column types by PostgreSQL's.
func postgresTypes(text string) string {
	cast := false // the word before was AS
	return rewrite(text, func(out *strings.Builder, piece string) {
		switch {
		case piece == "BLOB":
			piece = "BYTEA"
		case piece == "TEXT" && !cast:
			piece = `TEXT COLLATE "C"`
		}
		out.WriteString(piece)
		if isWord(piece[0]) {
			cast = piece == "AS"
		}
	})
}
