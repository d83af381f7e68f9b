package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a document may nest. The language needs six levels.
const maxDepth = 10

// object is a JSON object with its members in the order of the text, no two of the same name. The other JSON values are
// decoded to string, json.Number, bool, nil and []any.
type object []member

type member struct {
	name  string
	value any
}

func (o object) get(name string) (any, bool) {
	i := slices.IndexFunc(o, func(m member) bool { return m.name == name })
	if i < 0 {
		return nil, false
	}
	return o[i].value, true
}

// decode reads JSON more strictly than encoding/json: an object must not have two members of one name, since readers
// differ in which they take, and text must be UTF-8.
func decode(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, &Error{"This policy contains invalid Json: it is not UTF-8"}
	}
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, &Error{fmt.Sprintf("This policy contains invalid Json: %v", err)}
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	return decodeValue(dec, 0)
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, &Error{fmt.Sprintf("This policy contains invalid Json: %v", err)}
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, syntaxError("It is nested deeper than %d levels.", maxDepth)
	}
	var value any
	if delim == '{' {
		value, err = decodeObject(dec, depth+1)
	} else {
		value, err = decodeArray(dec, depth+1)
	}
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != nil {
		return nil, &Error{fmt.Sprintf("This policy contains invalid Json: %v", err)}
	}
	return value, nil
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	o := object{}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, &Error{fmt.Sprintf("This policy contains invalid Json: %v", err)}
		}
		name, _ := key.(string)
		if seen[name] {
			return nil, &Error{fmt.Sprintf("This policy contains invalid Json: duplicate key %q", name)}
		}
		seen[name] = true
		value, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, value})
	}
	return o, nil
}

func decodeArray(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		value, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

// texts returns the strings of a value that is one string or an array of strings.
func texts(value any) ([]string, bool) {
	if s, ok := value.(string); ok {
		return []string{s}, true
	}
	list, ok := value.([]any)
	if !ok {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

// scalars is texts for the values of conditions, which may be numbers and booleans, too.
func scalars(value any) ([]string, bool) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		case bool:
			out = append(out, fmt.Sprint(v))
		default:
			return nil, false
		}
	}
	return out, true
}
