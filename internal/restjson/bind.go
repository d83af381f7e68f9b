package restjson

import (
	"net/http"
	"reflect"

	"github.com/lockfast/lockfast/internal/sigv4"
	"github.com/lockfast/lockfast/internal/wire"
)

// bind makes the input of an operation from the labels, query, headers and body of a request, and checks it.
func bind(m *match, r *http.Request, rawQuery string, body []byte) (any, error) {
	shape := m.handler.Descriptor.Input
	in := reflect.New(shape.Type)
	v := in.Elem()
	for i, s := range m.segments {
		if s.member < 0 {
			continue
		}
		if err := wire.SetText(&shape.Members[s.member], v.Field(s.member), m.labels[i]); err != nil {
			return nil, err
		}
	}
	if err := bindQuery(shape, v, rawQuery); err != nil {
		return nil, err
	}
	if err := bindHeaders(shape, v, r.Header); err != nil {
		return nil, err
	}
	if shape.HasBody() {
		if err := wire.ReadJSON(body, shape, in.Interface()); err != nil {
			return nil, err
		}
	}
	return in.Interface(), wire.Validate(shape, in.Interface())
}

// bindQuery reads the query string. Of a parameter given twice the first counts, except for lists, which collect all.
func bindQuery(s *wire.Shape, v reflect.Value, raw string) error {
	parameters := sigv4.Parameters(raw)
	for i := range s.Members {
		m := &s.Members[i]
		if m.In != wire.Query {
			continue
		}
		for _, p := range parameters {
			if p.Key != m.WireName() {
				continue
			}
			if m.Shape.Kind == wire.List {
				v.Field(i).Set(reflect.Append(v.Field(i), reflect.ValueOf(p.Value).Convert(v.Field(i).Type().Elem())))
				continue
			}
			if err := wire.SetText(m, v.Field(i), p.Value); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func bindHeaders(s *wire.Shape, v reflect.Value, h http.Header) error {
	for i := range s.Members {
		m := &s.Members[i]
		if m.In != wire.Header || h.Get(m.WireName()) == "" {
			continue
		}
		if err := wire.SetText(m, v.Field(i), h.Get(m.WireName())); err != nil {
			return err
		}
	}
	return nil
}
