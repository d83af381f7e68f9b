package wire

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"time"
)

// SetText sets the scalar field f of member m from the text of a label, query parameter, header or form value. It answers [*Invalid] for a
// text that the kind of the member does not allow.
func SetText(m *Member, f reflect.Value, text string) error {
	v := settable(f)
	var err error
	switch m.Shape.Kind {
	case String:
		v.SetString(text)
	case Integer, Long:
		var i int64
		if i, err = ParseInteger(m.Shape, text); err == nil {
			v.SetInt(i)
		}
	case Double:
		var d float64
		if d, err = strconv.ParseFloat(text, 64); err == nil {
			v.SetFloat(d)
		}
	case Boolean:
		var b bool
		if b, err = parseBoolean(text); err == nil {
			v.SetBool(b)
		}
	case Timestamp:
		var t time.Time
		if t, err = ParseTime(text); err == nil {
			v.Set(reflect.ValueOf(t))
		}
	case Blob:
		var b []byte
		if b, err = base64.StdEncoding.DecodeString(text); err == nil {
			v.SetBytes(b)
		}
	}
	if err != nil {
		return broken(m.Shape, text, (*path)(nil).member(m.Name), "be %s", article(m.Shape.Kind))
	}
	return nil
}

func parseBoolean(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, strconv.ErrSyntax
}

func article(k Kind) string {
	switch k {
	case Integer, Long:
		return "an integer"
	case Double:
		return "a number"
	case Boolean:
		return "true or false"
	case Timestamp:
		return "a timestamp"
	case Blob:
		return "a base64 string"
	}
	return "a string"
}

// Text returns the scalar field f of member m as the text of a label, query parameter or header, and whether the member is there at all.
func Text(m *Member, f reflect.Value) (string, bool) {
	v, ok := present(m, f)
	if !ok {
		return "", false
	}
	switch m.Shape.Kind {
	case Integer, Long:
		return strconv.FormatInt(v.Int(), 10), true
	case Double:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
	case Boolean:
		return strconv.FormatBool(v.Bool()), true
	case Timestamp:
		return FormatTime(v.Interface().(time.Time)), true
	case Blob:
		return base64.StdEncoding.EncodeToString(v.Bytes()), true
	}
	return v.String(), true
}
