package main

import (
	"fmt"
	"slices"
	"strings"
)

// types writes the structures and enums.
func (e *emitter) types() {
	e.printf("package %s\n\nimport (\n", e.Package)
	for _, path := range e.imports() {
		e.printf("%q\n", path)
	}
	e.printf(")\n")
	for _, name := range sorted(e.Shapes) {
		switch sh := e.Shapes[name]; {
		case sh.Type == "structure" && !sh.Exception:
			e.structure(name, sh)
		case sh.Enum != nil:
			e.enum(name, sh)
		}
	}
}

// imports lists the packages that the types need.
func (e *emitter) imports() []string {
	var paths []string
	for _, sh := range e.Shapes {
		for _, r := range sh.Members {
			switch {
			case e.Shapes[r.Shape].Type == "timestamp":
				paths = append(paths, "time")
			case r.Streaming:
				paths = append(paths, "io")
			}
		}
		if sh.Type == "structure" && !sh.Exception && e.sensitive(sh) {
			paths = append(paths, "log/slog", "github.com/lockfast/lockfast/internal/wire")
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// sensitive reports whether a structure, or anything in it, must not be logged.
func (e *emitter) sensitive(sh *shape) bool {
	if sh.Sensitive {
		return true
	}
	return slices.ContainsFunc(sh.refs(), func(r *ref) bool { return e.sensitive(e.Shapes[r.Shape]) })
}

func (e *emitter) structure(name string, sh *shape) {
	goName := e.names[name]
	e.printf("\n// %s\ntype %s struct {\n", e.typeDoc(name, sh), goName)
	for _, m := range sorted(sh.Members) {
		e.printf("%s %s%s\n", upper(m), e.fieldType(sh, m), fieldNote(sh, m))
	}
	e.printf("}\n")
	if e.sensitive(sh) {
		e.printf("\n// LogValue is the value without what must not be logged.\nfunc (v %s) LogValue() slog.Value { return wire.LogValue(%s, &v) }\n", goName, e.shapeVar(name))
	}
}

func (e *emitter) typeDoc(name string, sh *shape) string {
	if sh.Documentation != "" {
		return sh.Documentation
	}
	for _, at := range sorted(e.Operations) {
		op := e.Operations[at]
		switch name {
		case op.Input.Shape:
			return fmt.Sprintf("%s is the input of [%s].", e.names[name], op.Name)
		case op.Output.Shape:
			return fmt.Sprintf("%s is the output of [%s].", e.names[name], op.Name)
		}
	}
	return fmt.Sprintf("%s is a structure of the %s API.", e.names[name], e.Metadata.ServiceFullName)
}

// fieldNote says what the type of a field does not: where the member travels, and that it must be there.
func fieldNote(sh *shape, name string) string {
	var notes []string
	m := sh.Members[name]
	switch m.Location {
	case "uri":
		notes = append(notes, "label "+m.LocationName)
	case "querystring":
		notes = append(notes, "query "+m.LocationName)
	case "header":
		notes = append(notes, "header "+m.LocationName)
	}
	if slices.Contains(sh.Required, name) {
		notes = append(notes, "required")
	}
	if m.IdempotencyToken {
		notes = append(notes, "idempotency token")
	}
	if len(notes) == 0 {
		return ""
	}
	return " // " + strings.Join(notes, ", ")
}

// fieldType returns the Go type of a member: required scalars and structures are values, optional ones pointers.
func (e *emitter) fieldType(sh *shape, name string) string {
	m := sh.Members[name]
	if m.Streaming {
		return "io.ReadCloser"
	}
	t := e.goType(m.Shape)
	switch e.Shapes[m.Shape].Type {
	case "list", "map", "blob":
		return t
	}
	if sh.Exception || slices.Contains(sh.Required, name) {
		return t
	}
	return "*" + t
}

func (e *emitter) goType(name string) string {
	sh := e.Shapes[name]
	switch sh.Type {
	case "structure":
		return e.names[name]
	case "list":
		return "[]" + e.goType(sh.Member.Shape)
	case "map":
		return "map[string]" + e.goType(sh.Value.Shape)
	case "string":
		if sh.Enum != nil {
			return e.names[name]
		}
		return "string"
	case "integer":
		return "int"
	case "long":
		return "int64"
	case "float", "double":
		return "float64"
	case "boolean":
		return "bool"
	case "timestamp":
		return "time.Time"
	case "blob":
		return "[]byte"
	}
	panic("gen: unknown type " + sh.Type)
}

func (e *emitter) enum(name string, sh *shape) {
	goName := e.names[name]
	e.printf("\n// %s is an enum of the %s API.\ntype %s string\n\n// Values of [%s].\nconst (\n", goName, e.Metadata.ServiceFullName, goName, goName)
	for _, v := range sh.Enum {
		e.printf("%s%s %s = %q\n", goName, camel(v), goName, v)
	}
	e.printf(")\n")
}

// errors writes the error types.
func (e *emitter) errors() {
	e.printf("package %s\n\nimport (\n\"fmt\"\n\n\"github.com/lockfast/lockfast/internal/wire\"\n)\n", e.Package)
	for _, name := range sorted(e.Shapes) {
		if sh := e.Shapes[name]; sh.Exception {
			e.exception(name, sh)
		}
	}
}

func (e *emitter) exception(name string, sh *shape) {
	goName := e.names[name]
	e.printf("\n// %s is an error of the %s API.\ntype %s struct {\n", goName, e.Metadata.ServiceFullName, goName)
	for _, m := range sorted(sh.Members) {
		e.printf("%s %s\n", upper(m), e.fieldType(sh, m))
	}
	e.printf("}\n\n// %sf makes the error with a message.\nfunc %sf(format string, args ...any) *%s {\nreturn &%s{Message: fmt.Sprintf(format, args...)}\n}\n\n",
		goName, goName, goName, goName)
	e.printf("func (e *%s) Error() string { return %q + e.Message }\n\n", goName, e.code(name)+": ")
	e.printf("// ErrorName returns %q.\nfunc (e *%s) ErrorName() string { return %q }\n\n", e.code(name), goName, e.code(name))
	e.printf("// HTTPStatus returns %d.\nfunc (e *%s) HTTPStatus() int { return %d }\n\n", e.status(name), goName, e.status(name))
	e.printf("// ErrorShape describes the members of the error.\nfunc (e *%s) ErrorShape() *wire.Shape { return %s }\n", goName, e.shapeVar(name))
}
