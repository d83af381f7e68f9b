package wire

import (
	"log/slog"
	"slices"
)

const redacted = `"(redacted)"`

// secret lists members that are never logged, whatever their shape says. The models of IAM and STS do not mark tags, as
// that of AWS Backup does.
var secret = []string{"SecretAccessKey", "SessionToken", "Password", "OldPassword", "NewPassword", "Tags"}

// Hidden reports whether a member must not be logged.
func (m *Member) Hidden() bool { return m.Shape.Sensitive || slices.Contains(secret, m.Name) }

// LogValue returns the structure that v points to in the form in which it may be logged: sensitive members are replaced.
func LogValue(s *Shape, v any) slog.Value {
	return slog.StringValue(string(appendJSON(nil, s, v, jsonOptions{all: true, redact: true})))
}

// AppendRecord appends the structure that v points to in the form of a record of API calls: like [LogValue], with names
// that begin with a lower-case letter.
func AppendRecord(dst []byte, s *Shape, v any) []byte {
	return appendJSON(dst, s, v, jsonOptions{all: true, redact: true, lower: true})
}
