package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// values are texts for members, by the names of these in lower case. Those of the others are made up.
type values map[string]string

// plausible are texts of which the first that fits is taken.
func plausible() []string {
	return []string{"abcd", "2030-01-01T00:00:00Z", "111111111111", "arn:aws:backup:us-east-1:111111111111:backup-vault:none",
		"00000000-0000-0000-0000-000000000000", "/abcd/", "v1", "12", "123456", "abcdefghijklmnopqrstuvwxyz", "https://example.com",
		`{"Version":"2012-10-17"}`}
}

// fill makes a structure valid with as little as possible, and with all members for which there is a value.
func (vs values) fill(t *testing.T, s *wire.Shape, v reflect.Value) {
	t.Helper()
	for i := range s.Members {
		m := &s.Members[i]
		_, known := vs[strings.ToLower(m.Name)]
		if m.Required || known && m.Shape.Kind == wire.String {
			vs.set(t, m.Shape, v.Field(i), m.Name)
		}
	}
}

func (vs values) set(t *testing.T, s *wire.Shape, f reflect.Value, name string) {
	t.Helper()
	if f.Kind() == reflect.Pointer {
		f.Set(reflect.New(f.Type().Elem()))
		f = f.Elem()
	}
	switch s.Kind {
	case wire.Structure:
		vs.fill(t, s, f)
	case wire.List:
		item := reflect.New(f.Type().Elem()).Elem()
		vs.set(t, s.Item, item, strings.TrimSuffix(name, "s"))
		f.Set(reflect.Append(f, item))
	case wire.Map:
		item := reflect.New(f.Type().Elem()).Elem()
		vs.set(t, s.Item, item, name)
		f.Set(reflect.MakeMap(f.Type()))
		f.SetMapIndex(reflect.ValueOf("abcd").Convert(f.Type().Key()), item)
	case wire.String:
		f.SetString(vs.text(t, s, name))
	case wire.Integer, wire.Long:
		n := int64(1)
		if s.Min != nil {
			n = *s.Min
		}
		f.SetInt(n)
	case wire.Double:
		f.SetFloat(1)
	case wire.Boolean:
		f.SetBool(true)
	case wire.Timestamp:
		f.Set(reflect.ValueOf(time.Now().Add(time.Hour)))
	case wire.Blob:
		f.SetBytes([]byte("abcd"))
	default:
		t.Fatalf("%s: shape %s has no kind", name, s.Name)
	}
}

func (vs values) text(t *testing.T, s *wire.Shape, name string) string {
	t.Helper()
	if text, ok := vs[strings.ToLower(name)]; ok {
		return text
	}
	if s.Enum != nil {
		return s.Enum[0]
	}
	for _, text := range plausible() {
		if (s.Pattern == nil || s.Pattern.MatchString(text)) && (s.Min == nil || int64(len(text)) >= *s.Min) &&
			(s.Max == nil || int64(len(text)) <= *s.Max) {
			return text
		}
	}
	t.Fatalf("no text for %s, a %s: %v", name, s.Name, s.Pattern)
	return ""
}

// answer is what a server said, unread.
type answer struct {
	status int
	name   string // of an error
	body   string
}

// try calls an operation of any service with an input that values make.
func (f *fixture) try(op *wire.Descriptor, keys sigv4.Keys, vs values) answer {
	f.Helper()
	in := reflect.New(op.Input.Type)
	vs.fill(f.T, op.Input, in.Elem())
	if err := wire.Validate(op.Input, in.Interface()); err != nil {
		f.Fatalf("%s: %v", op.Name, err)
	}
	target, body, headers := op.Path, []byte(nil), http.Header{}
	if op.Service.Protocol == "query" {
		form := url.Values{"Action": {op.Name}, "Version": {op.Service.Version}}
		encode(form, op.Input, in.Elem(), "")
		body = []byte(form.Encode())
		headers.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		target, body = restRequest(op, in)
	}
	if op.Service.Target != "" {
		headers.Set("X-Amz-Target", op.Service.Target+"."+op.Name)
	}
	req, err := http.NewRequestWithContext(f.Context(), op.Method, f.server.Address().URL+target, bytes.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	req.Header = headers
	sigv4.Sign(req, body, keys, "us-east-1", op.Service.Name, time.Now())
	resp, err := f.sdkHTTP.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.Fatalf("%s: %v", op.Name, err)
	}
	a := answer{status: resp.StatusCode, name: resp.Header.Get("X-Amzn-Errortype"), body: string(text)}
	if code := between(a.body, "Code"); a.name == "" && a.status >= 300 {
		a.name = code
	}
	if _, rest, ok := strings.Cut(a.body, `{"__type":"`); ok {
		a.name, _, _ = strings.Cut(rest, `"`)
	}
	return a
}

// between returns the text of an XML element.
func between(xml, element string) string {
	found := regexp.MustCompile("<" + element + ">([^<]*)</" + element + ">").FindStringSubmatch(xml)
	if found == nil {
		return ""
	}
	return found[1]
}

func restRequest(op *wire.Descriptor, in reflect.Value) (target string, body []byte) {
	path, query, _ := strings.Cut(op.Path, "?")
	parameters := strings.Split(query, "&")
	for i := range op.Input.Members {
		m := &op.Input.Members[i]
		text, ok := wire.Text(m, in.Elem().Field(i))
		switch {
		case m.In == wire.Label:
			path = strings.Replace(path, "{"+m.WireName()+"}", sigv4.Escape(text), 1)
		case m.In == wire.Query && ok:
			parameters = append(parameters, sigv4.Escape(m.WireName())+"="+sigv4.Escape(text))
		}
	}
	if op.Input.HasBody() {
		body = wire.AppendJSON(nil, op.Input, in.Interface())
	}
	return path + "?" + strings.TrimPrefix(strings.Join(parameters, "&"), "&"), body
}

// encode writes the members of a structure as a form.
func encode(form url.Values, s *wire.Shape, v reflect.Value, prefix string) {
	for i := range s.Members {
		m := &s.Members[i]
		encodeMember(form, m, v.Field(i), prefix+m.WireName())
	}
}

func encodeMember(form url.Values, m *wire.Member, f reflect.Value, name string) {
	switch m.Shape.Kind {
	case wire.Structure:
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				return
			}
			f = f.Elem()
		}
		encode(form, m.Shape, f, name+".")
	case wire.List:
		for i := range f.Len() {
			item := name + ".member." + strconv.Itoa(i+1)
			encodeMember(form, &wire.Member{Name: item, Required: true, Shape: m.Shape.Item}, f.Index(i), item)
		}
	case wire.Map:
		panic(fmt.Sprintf("%s: no operation takes a map", name))
	default:
		if text, ok := wire.Text(m, f); ok {
			form.Set(name, text)
		}
	}
}
