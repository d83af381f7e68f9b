package wire

import "fmt"

// APIError is an error that a client is meant to see. The generated error types implement it, as do [Error], [Denied] and [Invalid]'s
// translation in the protocol packages.
type APIError interface {
	error
	ErrorName() string // as clients test for it, "ResourceNotFoundException"
	HTTPStatus() int
}

// Modelled is an APIError with members of its own.
type Modelled interface {
	APIError
	ErrorShape() *Shape // structure whose Type is the type the error points to
}

// Error is an API error known by name only: one that no model lists, or one that a client received.
type Error struct {
	Name      string
	Message   string
	Status    int
	RequestID string // set on errors that a client received
}

// Errorf makes an [Error] to be sent.
func Errorf(status int, name, format string, args ...any) *Error {
	return &Error{Name: name, Status: status, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Name + ": " + e.Message
}

// ErrorName returns the name by which clients know the error.
func (e *Error) ErrorName() string { return e.Name }

// HTTPStatus returns the status of the answer that carries the error.
func (e *Error) HTTPStatus() int { return e.Status }

// Denied is a refusal by the authoriser. Its name on the wire depends on the protocol.
type Denied struct{ Message string }

func (e *Denied) Error() string { return "access denied: " + e.Message }

// Invalid is an input that breaks a rule of its shape. The protocol gives it the name that the service uses.
type Invalid struct {
	Member  string // path of the member, "BackupPlan.Rules[0].RuleName"
	Missing bool   // required, but absent or empty
	Text    string // the whole message
}

func (e *Invalid) Error() string { return e.Text }

// Malformed is an input that cannot be read at all: bad syntax, or a value of the wrong type.
type Malformed struct {
	Member string // path of the member, empty if the document as a whole is meant
	Text   string
}

func (e *Malformed) Error() string {
	if e.Member == "" {
		return e.Text
	}
	return e.Member + ": " + e.Text
}
