package query

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/lockfast/lockfast/internal/wire"
)

// maxEntries limits lists and maps, which no operation fills with more.
const maxEntries = 1000

// form is the input of an operation: flat names such as Tags.member.1.Key with their values.
type form struct {
	values url.Values
	names  []string // sorted, to find out whether anything lies below a prefix
}

func newForm(values url.Values) *form {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return &form{values, names}
}

// has reports whether the form holds a name or anything below it.
func (f *form) has(prefix string) bool {
	if f.values.Has(prefix) {
		return true
	}
	i, _ := slices.BinarySearch(f.names, prefix+".")
	return i < len(f.names) && strings.HasPrefix(f.names[i], prefix+".")
}

// structure reads the members of a structure whose names start with the prefix. Names that no member has are ignored.
func (f *form) structure(s *wire.Shape, v reflect.Value, prefix string) error {
	for i := range s.Members {
		m := &s.Members[i]
		name := prefix + m.WireName()
		if !f.has(name) {
			if m.Required {
				return wire.Missing(name)
			}
			continue
		}
		if err := f.member(m, v.Field(i), name); err != nil {
			return err
		}
	}
	return nil
}

func (f *form) member(m *wire.Member, v reflect.Value, name string) error {
	switch m.Shape.Kind {
	case wire.Structure:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		return f.structure(m.Shape, v, name+".")
	case wire.List:
		return f.list(m.Shape, v, name)
	case wire.Map:
		return f.table(m.Shape, v, name)
	}
	return wire.SetText(m, v, f.values.Get(name))
}

// list reads Name.member.1, Name.member.2 and so on. An empty list is sent as an empty value of the name itself.
func (f *form) list(s *wire.Shape, v reflect.Value, name string) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for n := 1; ; n++ {
		at := name + ".member." + strconv.Itoa(n)
		if !f.has(at) {
			return nil
		}
		if n > maxEntries {
			return &wire.Malformed{Member: name, Text: fmt.Sprintf("more than %d entries", maxEntries)}
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := f.member(&wire.Member{Name: at, Shape: s.Item}, item, at); err != nil {
			return err
		}
		v.Set(reflect.Append(v, item))
	}
}

// table reads Name.entry.1.key, Name.entry.1.value and so on.
func (f *form) table(s *wire.Shape, v reflect.Value, name string) error {
	v.Set(reflect.MakeMap(v.Type()))
	for n := 1; ; n++ {
		at := name + ".entry." + strconv.Itoa(n)
		if !f.has(at) {
			return nil
		}
		if n > maxEntries {
			return &wire.Malformed{Member: name, Text: fmt.Sprintf("more than %d entries", maxEntries)}
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := f.member(&wire.Member{Name: at, Shape: s.Item}, item, at+".value"); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(f.values.Get(at+".key")), item)
	}
}
