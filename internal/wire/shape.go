package wire

import "reflect"

// Kind says how values of a shape look in Go and on the wire.
type Kind uint8

// The kinds, with their Go types. An optional scalar or structure is a pointer to that type.
const (
	Structure Kind = iota + 1 // a struct; field i belongs to Members[i]
	List                      // a slice, nil when absent
	Map                       // a map with string keys, nil when absent
	String                    // string, or a named string type for an enum
	Integer                   // int, with 32 bits on the wire
	Long                      // int64
	Double                    // float64
	Boolean                   // bool
	Timestamp                 // time.Time
	Blob                      // []byte, nil when absent
)

// Shape describes a type of the model. It must not be changed.
type Shape struct {
	Name      string
	Kind      Kind
	Type      reflect.Type // of a structure
	Members   []Member     // of a structure, in the order of the fields of Type
	Key, Item *Shape       // of a map; Item also of a list
	Enum      []string     // the only values allowed, when not nil
	Pattern   *Pattern     // matches a valid string, when not nil
	Min, Max  *int64       // smallest and largest value of a number, or length of a string (in characters), list or map
	Sensitive bool         // must not be logged
	Bytes     bool         // a string that need not be UTF-8, as the names of files
}

// Location says which part of a request or response carries a member.
type Location uint8

// The locations.
const (
	Body   Location = iota // a member of the document in the body
	Label                  // a segment of the path
	Query                  // a parameter of the query string
	Header                 // a header
	Stream                 // the body itself; the field is an io.ReadCloser
)

// Member is one member of a structure.
type Member struct {
	Name     string // in the model and, with an upper-case first letter, in Go
	Wire     string // name on the wire where it differs from Name
	In       Location
	Required bool
	Shape    *Shape
}

// WireName returns the member's name on the wire.
func (m *Member) WireName() string {
	if m.Wire != "" {
		return m.Wire
	}
	return m.Name
}

// Member returns the index of the named member of a structure, or -1.
func (s *Shape) Member(name string) int {
	for i := range s.Members {
		if s.Members[i].Name == name {
			return i
		}
	}
	return -1
}

// HasBody reports whether a member of the structure travels in the document of the body.
func (s *Shape) HasBody() bool {
	for i := range s.Members {
		if s.Members[i].In == Body {
			return true
		}
	}
	return false
}

// Stream returns the index of the member that is the body itself, or -1.
func (s *Shape) Stream() int {
	for i := range s.Members {
		if s.Members[i].In == Stream {
			return i
		}
	}
	return -1
}

// Shapes of scalars that carry no rule.
var (
	PlainString    = &Shape{Name: "String", Kind: String}
	PlainInteger   = &Shape{Name: "Integer", Kind: Integer}
	PlainLong      = &Shape{Name: "Long", Kind: Long}
	PlainDouble    = &Shape{Name: "Double", Kind: Double}
	PlainBoolean   = &Shape{Name: "Boolean", Kind: Boolean}
	PlainTimestamp = &Shape{Name: "Timestamp", Kind: Timestamp}
	PlainBlob      = &Shape{Name: "Blob", Kind: Blob}
)
