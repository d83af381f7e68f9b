package query

import (
	"bytes"
	"encoding/xml"
	"reflect"
	"slices"
	"strings"

	"github.com/lockfast/lockfast/internal/wire"
)

// answer writes XML. Texts are escaped; element names come from the model only.
type answer struct{ bytes.Buffer }

func (a *answer) open(name string)  { a.WriteString("<" + name + ">") }
func (a *answer) close(name string) { a.WriteString("</" + name + ">") }

func (a *answer) text(name, text string) {
	a.open(name)
	_ = xml.EscapeText(a, []byte(text)) // writing to memory does not fail
	a.close(name)
}

// output is the answer of an operation that succeeded.
func output(op *wire.Descriptor, out any, requestID string) []byte {
	a := &answer{}
	a.WriteString("<" + op.Name + `Response xmlns="` + op.Service.Namespace + `">`)
	if len(op.Output.Members) > 0 || op.Output.Name != op.Name+"Output" { // so called are outputs that the model lacks
		a.open(op.Name + "Result")
		a.structure(op.Output, reflect.ValueOf(out).Elem())
		a.close(op.Name + "Result")
	}
	a.open("ResponseMetadata")
	a.text("RequestId", requestID)
	a.close("ResponseMetadata")
	a.close(op.Name + "Response")
	return a.Bytes()
}

func (a *answer) structure(s *wire.Shape, v reflect.Value) {
	for i := range s.Members {
		m := &s.Members[i]
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Pointer:
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		case reflect.Slice, reflect.Map:
			if f.IsNil() && !m.Required {
				continue
			}
		}
		a.value(m.WireName(), m.Shape, f)
	}
}

func (a *answer) value(name string, s *wire.Shape, v reflect.Value) {
	switch s.Kind {
	case wire.Structure:
		a.open(name)
		a.structure(s, v)
		a.close(name)
	case wire.List:
		a.open(name)
		for i := range v.Len() {
			a.value("member", s.Item, v.Index(i))
		}
		a.close(name)
	case wire.Map:
		a.table(name, s, v)
	default:
		text, _ := wire.Text(&wire.Member{Shape: s, Required: true}, v)
		a.text(name, text)
	}
}

func (a *answer) table(name string, s *wire.Shape, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	a.open(name)
	for _, key := range keys {
		a.open("entry")
		a.text("key", key.String())
		a.value("value", s.Item, v.MapIndex(key))
		a.close("entry")
	}
	a.close(name)
}

// failure is the answer of an operation that failed.
func failure(s *wire.Service, fault, code, message, requestID string) []byte {
	a := &answer{}
	a.WriteString(`<ErrorResponse xmlns="` + s.Namespace + `">`)
	a.open("Error")
	a.text("Type", fault)
	a.text("Code", code)
	a.text("Message", message)
	a.close("Error")
	a.text("RequestId", requestID)
	a.close("ErrorResponse")
	return a.Bytes()
}
