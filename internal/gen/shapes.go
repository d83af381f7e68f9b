package main

import (
	"fmt"
	"slices"
	"strings"
)

// shapes writes the descriptions by which the protocols read and write the types.
func (e *emitter) shapes() {
	imports := []string{"github.com/lockfast/lockfast/internal/wire"}
	for _, sh := range e.Shapes {
		if sh.Type == "structure" {
			imports = append(imports, "reflect")
		}
	}
	slices.Sort(imports)
	e.printf("package %s\n\nimport (\n", e.Package)
	for _, path := range slices.Compact(imports) {
		e.printf("%q\n", path)
	}
	e.printf(")\n\nvar (\n")
	for _, name := range sorted(e.Shapes) {
		if v := e.shapeVar(name); !strings.HasPrefix(v, "wire.") {
			e.printf("%s = &wire.Shape{%s}\n", v, e.shapeBody(name, e.Shapes[name]))
		}
	}
	e.printf(")\n")
}

// shapeVar returns the Go expression for a shape.
func (e *emitter) shapeVar(name string) string {
	sh := e.Shapes[name]
	plain := sh.Enum == nil && sh.Pattern == "" && sh.Min == nil && sh.Max == nil && !sh.Sensitive && !sh.Bytes
	switch kind := kindOf(sh.Type); kind {
	case "Structure", "List", "Map":
	default:
		if plain {
			return "wire.Plain" + kind
		}
	}
	return "shape" + e.names[name]
}

func kindOf(t string) string {
	if t == "float" {
		t = "double"
	}
	return upper(t)
}

func (e *emitter) shapeBody(name string, sh *shape) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Name: %q, Kind: wire.%s", name, kindOf(sh.Type))
	if sh.Sensitive {
		b.WriteString(", Sensitive: true")
	}
	if sh.Bytes {
		b.WriteString(", Bytes: true")
	}
	if sh.Min != nil {
		fmt.Fprintf(&b, ", Min: new(int64(%d))", *sh.Min)
	}
	if sh.Max != nil {
		fmt.Fprintf(&b, ", Max: new(int64(%d))", *sh.Max)
	}
	if sh.Pattern != "" {
		fmt.Fprintf(&b, ", Pattern: wire.NewPattern(%s)", quote(pattern(sh.Pattern)))
	}
	if sh.Enum != nil {
		fmt.Fprintf(&b, ", Enum: %#v", sh.Enum)
	}
	switch sh.Type {
	case "list":
		fmt.Fprintf(&b, ", Item: %s", e.shapeVar(sh.Member.Shape))
	case "map":
		fmt.Fprintf(&b, ", Key: %s, Item: %s", e.shapeVar(sh.Key.Shape), e.shapeVar(sh.Value.Shape))
	case "structure":
		fmt.Fprintf(&b, ", Type: reflect.TypeFor[%s](), Members: []wire.Member{\n", e.names[name])
		for _, m := range sorted(sh.Members) {
			b.WriteString(e.member(name, sh, m))
		}
		b.WriteString("}")
	}
	return b.String()
}

func (e *emitter) member(structure string, sh *shape, name string) string {
	var b strings.Builder
	m := sh.Members[name]
	fmt.Fprintf(&b, "{Name: %q", upper(name))
	if wire := m.LocationName; wire != "" && wire != upper(name) {
		fmt.Fprintf(&b, ", Wire: %q", wire)
	} else if wire == "" && name != upper(name) {
		fmt.Fprintf(&b, ", Wire: %q", name)
	}
	if in := location(sh, name); in != "Body" {
		fmt.Fprintf(&b, ", In: wire.%s", in)
	}
	if slices.Contains(sh.Required, name) || e.lists[structure] == name {
		b.WriteString(", Required: true")
	}
	fmt.Fprintf(&b, ", Shape: %s},\n", e.shapeVar(m.Shape))
	return b.String()
}

func location(sh *shape, name string) string {
	m := sh.Members[name]
	switch {
	case m.Location == "uri":
		return "Label"
	case m.Location == "querystring":
		return "Query"
	case m.Location == "header":
		return "Header"
	case m.Location == "" && m.Streaming && sh.Payload == name:
		return "Stream"
	case m.Location == "" && sh.Payload == "":
		return "Body"
	}
	panic("gen: unknown location of member " + name)
}

func quote(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
