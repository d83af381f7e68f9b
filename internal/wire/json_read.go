package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
)

// ReadJSON reads a document into the body members of the structure v points to. An empty text is an empty document; members that are
// unknown or null are ignored. It answers [*Malformed] for bad syntax and wrong types, and [*Invalid] for a required member that is absent.
func ReadJSON(text []byte, s *Shape, v any) error { return readJSON(text, s, v, true) }

// ReadJSONLoosely is ReadJSON for answers of a server: required members may be absent.
func ReadJSONLoosely(text []byte, s *Shape, v any) error { return readJSON(text, s, v, false) }

func readJSON(text []byte, s *Shape, v any, strict bool) error {
	document := map[string]any{}
	if len(bytes.TrimSpace(text)) > 0 {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var root any
		if err := d.Decode(&root); err != nil {
			return &Malformed{Text: "body is not JSON: " + syntax(err)}
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return &Malformed{Text: "body is not JSON: text after the document"}
		}
		var ok bool
		if document, ok = root.(map[string]any); !ok {
			return &Malformed{Text: "body is not a JSON object but " + describe(root)}
		}
	}
	r := jsonReader{strict: strict}
	return r.structure(s, document, reflect.ValueOf(v).Elem(), nil)
}

func syntax(err error) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "unexpected end"
	}
	return err.Error()
}

// jsonReader moves a decoded document into Go values. No shape contains itself, so the depth is bounded by the model.
type jsonReader struct{ strict bool }

func (r *jsonReader) structure(s *Shape, document map[string]any, v reflect.Value, at *path) error {
	for i := range s.Members {
		m := &s.Members[i]
		if m.In != Body {
			continue
		}
		raw, ok := document[m.WireName()]
		if !ok || raw == nil {
			if r.strict && m.Required {
				return missing(at.member(m.Name))
			}
			continue
		}
		if err := r.value(m.Shape, raw, settable(v.Field(i)), at.member(m.Name)); err != nil {
			return err
		}
	}
	return nil
}

// settable returns the value behind an optional field, allocated.
func settable(f reflect.Value) reflect.Value {
	if f.Kind() != reflect.Pointer {
		return f
	}
	f.Set(reflect.New(f.Type().Elem()))
	return f.Elem()
}

func (r *jsonReader) value(s *Shape, raw any, v reflect.Value, at *path) error {
	switch s.Kind {
	case Structure:
		document, ok := raw.(map[string]any)
		if !ok {
			return wrongType(at, "an object", raw)
		}
		return r.structure(s, document, v, at)
	case List:
		return r.list(s, raw, v, at)
	case Map:
		return r.table(s, raw, v, at)
	case String:
		text, ok := raw.(string)
		if !ok {
			return wrongType(at, "a string", raw)
		}
		v.SetString(text)
	case Integer, Long:
		return readInteger(s, raw, v, at)
	case Double:
		return readDouble(raw, v, at)
	case Boolean:
		b, ok := raw.(bool)
		if !ok {
			return wrongType(at, "a boolean", raw)
		}
		v.SetBool(b)
	case Timestamp:
		return readTimestamp(raw, v, at)
	case Blob:
		text, ok := raw.(string)
		if !ok {
			return wrongType(at, "a base64 string", raw)
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return &Malformed{Member: at.String(), Text: "expected a base64 string"}
		}
		v.SetBytes(b)
	}
	return nil
}

func (r *jsonReader) list(s *Shape, raw any, v reflect.Value, at *path) error {
	items, ok := raw.([]any)
	if !ok {
		return wrongType(at, "an array", raw)
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if item == nil {
			return wrongType(at.index(i), "a value", nil)
		}
		if err := r.value(s.Item, item, out.Index(i), at.index(i)); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func (r *jsonReader) table(s *Shape, raw any, v reflect.Value, at *path) error {
	entries, ok := raw.(map[string]any)
	if !ok {
		return wrongType(at, "an object", raw)
	}
	out := reflect.MakeMapWithSize(v.Type(), len(entries))
	for key, item := range entries {
		if item == nil {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := r.value(s.Item, item, value, at.key(key)); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(key), value)
	}
	v.Set(out)
	return nil
}

func readInteger(s *Shape, raw any, v reflect.Value, at *path) error {
	n, ok := raw.(json.Number)
	if !ok {
		return wrongType(at, "an integer", raw)
	}
	i, err := ParseInteger(s, n.String())
	if err != nil {
		return &Malformed{Member: at.String(), Text: err.Error()}
	}
	v.SetInt(i)
	return nil
}

// ParseInteger reads the text of an integer or long, which may be written like 1.0 or 1e3.
func ParseInteger(s *Shape, text string) (int64, error) {
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, errors.New("expected an integer")
		}
		i = int64(f)
	}
	if s.Kind == Integer && (i < math.MinInt32 || i > math.MaxInt32) {
		return 0, errors.New("expected an integer of 32 bits")
	}
	return i, nil
}

func readDouble(raw any, v reflect.Value, at *path) error {
	var text string
	switch raw := raw.(type) {
	case json.Number:
		text = raw.String()
	case string: // "NaN", "Infinity", "-Infinity"
		text = raw
	default:
		return wrongType(at, "a number", raw)
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return wrongType(at, "a number", raw)
	}
	v.SetFloat(f)
	return nil
}

func readTimestamp(raw any, v reflect.Value, at *path) error {
	var text string
	switch raw := raw.(type) {
	case json.Number:
		text = raw.String()
	case string:
		text = raw
	default:
		return wrongType(at, "a timestamp", raw)
	}
	t, err := ParseTime(text)
	if err != nil {
		return &Malformed{Member: at.String(), Text: "expected a timestamp"}
	}
	v.Set(reflect.ValueOf(t))
	return nil
}

func wrongType(at *path, want string, raw any) error {
	return &Malformed{Member: at.String(), Text: fmt.Sprintf("expected %s, found %s", want, describe(raw))}
}

func describe(raw any) string {
	switch raw.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	}
	return "an object"
}
