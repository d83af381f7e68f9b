package directory

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Key returns the key of the entry at path, whose components are separated by slashes. Leading, trailing and repeated
// slashes mean nothing; the empty path is the root. Paths are bytes, in any encoding or none.
func Key(path []byte) ([]byte, error) {
	key := make([]byte, 0, len(path))
	for name := range bytes.SplitSeq(path, []byte{'/'}) {
		if len(name) == 0 {
			continue
		}
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("path %s: %w", Display(path), err)
		}
		key = childKey(key, name)
	}
	return key, nil
}

// Path returns the path of the entry with this key, with slashes between its components and none at the ends. The root
// has the empty path.
func Path(key []byte) []byte {
	return bytes.ReplaceAll(key, []byte{0}, []byte{'/'})
}

// Display returns path as text for people, logs and JSON: what is printable UTF-8 stands for itself, everything else
// and the backslash is written as in a Go string, with \x and two digits for a byte that is no character.
func Display(path []byte) string {
	if plain(path) {
		return string(path)
	}
	var b strings.Builder
	for len(path) > 0 {
		r, size := utf8.DecodeRune(path)
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, path[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		path = path[size:]
	}
	return b.String()
}

// ParseDisplay is the inverse of [Display]. It takes a path only in the one form that Display gives it.
func ParseDisplay(text string) ([]byte, error) {
	var path []byte
	for rest := text; rest != ""; {
		if rest[0] != '\\' {
			end := strings.IndexByte(rest+"\\", '\\')
			path, rest = append(path, rest[:end]...), rest[end:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, fmt.Errorf("path %q has a malformed escape", text)
		}
		if multibyte {
			path = utf8.AppendRune(path, r)
		} else {
			path = append(path, byte(r))
		}
		rest = tail
	}
	if again := Display(path); again != text {
		return nil, fmt.Errorf("path %q is not as it is displayed, %q", text, again)
	}
	return path, nil
}

func plain(path []byte) bool {
	for _, c := range path {
		if c < 0x20 || c > 0x7e || c == '\\' {
			return false
		}
	}
	return true
}

// errName says that bytes cannot be the name of a file.
var errName = errors.New("not a file name")

// checkName refuses what is not the name of one file in its directory. Recovery points are untrusted: every name is
// checked before it is used.
func checkName(name []byte) error {
	switch {
	case len(name) == 0:
		return fmt.Errorf("%w: it is empty", errName)
	case string(name) == "." || string(name) == "..":
		return fmt.Errorf("%w: %q", errName, name)
	case bytes.IndexByte(name, '/') >= 0:
		return fmt.Errorf("%w: %s contains a slash", errName, Display(name))
	case bytes.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: %s contains a zero byte", errName, Display(name))
	}
	return nil
}

// childKey appends a name to the key of its directory.
func childKey(dir, name []byte) []byte {
	if len(dir) > 0 {
		dir = append(dir, 0)
	}
	return append(dir, name...)
}

// parentKey returns the key of the directory that holds the entry. The root has none.
func parentKey(key []byte) (parent, name []byte) {
	i := bytes.LastIndexByte(key, 0)
	if i < 0 {
		return nil, key
	}
	return key[:i], key[i+1:]
}

// below reports whether key is dir itself or lies under it.
func below(key, dir []byte) bool {
	return len(dir) == 0 || bytes.HasPrefix(key, dir) && (len(key) == len(dir) || key[len(dir)] == 0)
}
