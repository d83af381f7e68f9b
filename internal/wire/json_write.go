package wire

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// jsonOptions changes what is written.
type jsonOptions struct {
	all    bool     // members of every location but the stream, not only those of the body
	redact bool     // sensitive values are replaced
	lower  bool     // names of members begin with a lower-case letter
	skip   []string // members of the top structure to leave out
}

// AppendJSON appends the document that carries the structure v points to: its body members, in the order of the model, map keys sorted.
// Members that are absent are left out; a required list or map is written even when it is nil.
func AppendJSON(dst []byte, s *Shape, v any) []byte { return appendJSON(dst, s, v, jsonOptions{}) }

// Canonical returns a text that is equal for equal inputs: all members of the structure v points to, wherever they travel, except those named.
func Canonical(s *Shape, v any, except ...string) []byte {
	return appendJSON(nil, s, v, jsonOptions{all: true, skip: except})
}

func appendJSON(dst []byte, s *Shape, v any, o jsonOptions) []byte {
	w := jsonWriter{buf: dst, jsonOptions: o}
	w.structure(s, reflect.ValueOf(v).Elem(), true)
	return w.buf
}

type jsonWriter struct {
	buf []byte
	jsonOptions
}

func (w *jsonWriter) structure(s *Shape, v reflect.Value, top bool) {
	w.buf = append(w.buf, '{')
	first := true
	for i := range s.Members {
		m := &s.Members[i]
		if top && w.leavesOut(m) {
			continue
		}
		f, ok := present(m, v.Field(i))
		if !ok {
			continue
		}
		if !first {
			w.buf = append(w.buf, ',')
		}
		first = false
		name := m.Name
		if m.In == Body {
			name = m.WireName()
		}
		w.name(name)
		if w.redact && m.Hidden() {
			w.buf = append(w.buf, redacted...)
			continue
		}
		w.value(m.Shape, f)
	}
	w.buf = append(w.buf, '}')
}

// name writes the name of a member; names of a model need no escapes.
func (w *jsonWriter) name(name string) {
	w.buf = append(w.buf, '"')
	at := len(w.buf)
	w.buf = append(w.buf, name...)
	if c := w.buf[at]; w.lower && 'A' <= c && c <= 'Z' {
		w.buf[at] = c - 'A' + 'a'
	}
	w.buf = append(w.buf, '"', ':')
}

func (w *jsonWriter) leavesOut(m *Member) bool {
	switch m.In {
	case Body:
	case Stream:
		return true
	default:
		if !w.all {
			return true
		}
	}
	return slices.Contains(w.skip, m.Name)
}

// present returns the value of a member without its pointer, and whether it is there at all.
func present(m *Member, f reflect.Value) (reflect.Value, bool) {
	switch f.Kind() {
	case reflect.Pointer:
		if f.IsNil() {
			return f, false
		}
		return f.Elem(), true
	case reflect.Slice, reflect.Map:
		return f, m.Required || !f.IsNil()
	case reflect.String:
		return f, m.Required || f.Len() > 0
	}
	return f, true
}

func (w *jsonWriter) value(s *Shape, v reflect.Value) {
	if w.redact && s.Sensitive {
		w.buf = append(w.buf, redacted...)
		return
	}
	switch s.Kind {
	case Structure:
		w.structure(s, v, false)
	case List:
		w.list(s, v)
	case Map:
		w.table(s, v)
	case String:
		w.text(v.String())
	case Integer, Long:
		w.buf = strconv.AppendInt(w.buf, v.Int(), 10)
	case Double:
		w.number(v.Float())
	case Boolean:
		w.buf = strconv.AppendBool(w.buf, v.Bool())
	case Timestamp:
		w.buf = AppendEpoch(w.buf, timeOf(v))
	case Blob:
		w.buf = append(w.buf, '"')
		w.buf = base64.StdEncoding.AppendEncode(w.buf, v.Bytes())
		w.buf = append(w.buf, '"')
	}
}

// timeOf avoids a copy on the heap where it can.
func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

func (w *jsonWriter) list(s *Shape, v reflect.Value) {
	w.buf = append(w.buf, '[')
	for i := range v.Len() {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		if room := cap(w.buf) - len(w.buf); room < len(w.buf)/8 { // append alone would copy a long list many times
			w.buf = slices.Grow(w.buf, len(w.buf))
		}
		w.value(s.Item, v.Index(i))
	}
	w.buf = append(w.buf, ']')
}

func (w *jsonWriter) table(s *Shape, v reflect.Value) {
	w.buf = append(w.buf, '{')
	for i, key := range sortedKeys(v) {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.key(s, i, key.String())
		w.buf = append(w.buf, ':')
		w.value(s.Item, v.MapIndex(key))
	}
	w.buf = append(w.buf, '}')
}

// key writes a key of a map. Sensitive ones are told apart by their number.
func (w *jsonWriter) key(s *Shape, i int, key string) {
	if w.redact && s.Key != nil && s.Key.Sensitive {
		key = "(redacted " + strconv.Itoa(i+1) + ")"
	}
	w.text(key)
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch {
		case a.String() < b.String():
			return -1
		case a.String() > b.String():
			return 1
		}
		return 0
	})
	return keys
}

// number writes what JSON has no form for as the strings that the rest-json protocol uses.
func (w *jsonWriter) number(f float64) {
	switch {
	case math.IsNaN(f):
		w.text("NaN")
	case math.IsInf(f, 1):
		w.text("Infinity")
	case math.IsInf(f, -1):
		w.text("-Infinity")
	default:
		w.buf = strconv.AppendFloat(w.buf, f, 'g', -1, 64)
	}
}

const hexDigits = "0123456789abcdef"

func (w *jsonWriter) text(s string) { w.buf = AppendText(w.buf, s) }

// AppendText appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf:
			dst = append(dst, `\ufffd`...)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	dst = append(dst, '"')
	return dst
}
