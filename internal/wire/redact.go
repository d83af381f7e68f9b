package wire

import "log/slog"

// LogValue returns the structure that v points to in the form in which it may be logged: sensitive members are replaced.
func LogValue(s *Shape, v any) slog.Value {
	return slog.StringValue(string(appendJSON(nil, s, v, jsonOptions{all: true, redact: true})))
}
