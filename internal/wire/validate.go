package wire

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Validate checks the structure that v points to against its shape: required members, enums, patterns, ranges and lengths. The result is nil
// or an [*Invalid] for the first rule broken. A required number or boolean that is absent is not noticed here but by the reader.
func Validate(s *Shape, v any) error {
	if bad := checkStructure(s, reflect.ValueOf(v).Elem(), nil); bad != nil {
		return bad
	}
	return nil
}

func checkStructure(s *Shape, v reflect.Value, at *path) *Invalid {
	for i := range s.Members {
		if m := &s.Members[i]; m.Required && isAbsent(v.Field(i)) && !mayBeEmpty(m.Shape) {
			return missing(at.member(m.Name))
		}
	}
	for i := range s.Members {
		m := &s.Members[i]
		f := v.Field(i)
		if m.In == Stream || isAbsent(f) {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if bad := check(m.Shape, f, at.member(m.Name)); bad != nil {
			return bad
		}
	}
	return nil
}

// mayBeEmpty reports whether the model allows an empty string in so many words. Elsewhere a required string that is empty counts as missing.
func mayBeEmpty(s *Shape) bool { return s.Kind == String && s.Min != nil && *s.Min == 0 }

// isAbsent reports whether a field holds nothing. An optional string that is present but empty is a pointer and so is not absent.
func isAbsent(f reflect.Value) bool {
	switch f.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return f.IsNil()
	case reflect.String:
		return f.Len() == 0
	}
	return false
}

func check(s *Shape, v reflect.Value, at *path) *Invalid {
	switch s.Kind {
	case Structure:
		return checkStructure(s, v, at)
	case List:
		return checkList(s, v, at)
	case Map:
		return checkMap(s, v, at)
	case String:
		return checkString(s, v.String(), at)
	case Blob:
		return checkLength(s, v.Len(), "", at)
	case Integer, Long:
		return checkNumber(s, v.Int(), at)
	}
	return nil
}

func checkList(s *Shape, v reflect.Value, at *path) *Invalid {
	if bad := checkLength(s, v.Len(), "", at); bad != nil {
		return bad
	}
	for i := range v.Len() {
		if bad := check(s.Item, v.Index(i), at.index(i)); bad != nil {
			return bad
		}
	}
	return nil
}

func checkMap(s *Shape, v reflect.Value, at *path) *Invalid {
	if bad := checkLength(s, v.Len(), "", at); bad != nil {
		return bad
	}
	for _, key := range sortedKeys(v) {
		if bad := checkString(s.Key, key.String(), at); bad != nil {
			return bad
		}
		if bad := check(s.Item, v.MapIndex(key), at.key(key.String())); bad != nil {
			return bad
		}
	}
	return nil
}

func checkString(s *Shape, text string, at *path) *Invalid {
	if strings.Contains(text, "\x00") || !s.Bytes && !utf8.ValidString(text) {
		return broken(s, strings.ReplaceAll(text, "\x00", "\uFFFD"), at, "be text in UTF-8 without NUL characters")
	}
	if s.Enum != nil && !slices.Contains(s.Enum, text) {
		return broken(s, text, at, "satisfy enum value set: [%s]", strings.Join(s.Enum, ", "))
	}
	if s.Min != nil || s.Max != nil {
		if bad := checkLength(s, utf8.RuneCountInString(text), text, at); bad != nil {
			return bad
		}
	}
	if s.Pattern != nil && !s.Pattern.MatchString(text) {
		return broken(s, text, at, "satisfy regular expression pattern: %s", s.Pattern)
	}
	return nil
}

func checkLength(s *Shape, n int, text string, at *path) *Invalid {
	if s.Min != nil && int64(n) < *s.Min {
		return broken(s, text, at, "have length greater than or equal to %d", *s.Min)
	}
	if s.Max != nil && int64(n) > *s.Max {
		return broken(s, text, at, "have length less than or equal to %d", *s.Max)
	}
	return nil
}

func checkNumber(s *Shape, n int64, at *path) *Invalid {
	if s.Min != nil && n < *s.Min {
		return broken(s, strconv.FormatInt(n, 10), at, "have value greater than or equal to %d", *s.Min)
	}
	if s.Max != nil && n > *s.Max {
		return broken(s, strconv.FormatInt(n, 10), at, "have value less than or equal to %d", *s.Max)
	}
	return nil
}

func missing(at *path) *Invalid { return Missing(at.String()) }

// Missing says that a required member is absent.
func Missing(member string) *Invalid {
	return &Invalid{Member: member, Missing: true, Text: "Missing required parameter: " + member}
}

// broken words a rule as AWS services do. The value is repeated if it is short and may be shown.
func broken(s *Shape, value string, at *path, rule string, args ...any) *Invalid {
	shown := ""
	if !s.Sensitive && (s.Kind == String || value != "") && len(value) <= 256 {
		shown = fmt.Sprintf("'%s' ", strings.ToValidUTF8(value, "\uFFFD"))
	}
	text := fmt.Sprintf("Value %sat '%s' failed to satisfy constraint: Member must %s", shown, at, fmt.Sprintf(rule, args...))
	return &Invalid{Member: at.String(), Text: text}
}

// path is the place of a value in an input, built from the inside out only when a message needs it. Nil is the top.
type path struct {
	up   *path
	name string // ".Name", "[3]" or "[key]"
}

func (p *path) member(name string) *path { return &path{p, "." + name} }
func (p *path) index(i int) *path        { return &path{p, "[" + strconv.Itoa(i) + "]"} }
func (p *path) key(k string) *path       { return &path{p, "[" + k + "]"} }

func (p *path) String() string {
	if p == nil {
		return ""
	}
	if p.up == nil {
		return strings.TrimPrefix(p.name, ".")
	}
	return p.up.String() + p.name
}
