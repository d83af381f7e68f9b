package seal

import "log/slog"

// Secret is a key. It prints and logs as a placeholder; convert it to bytes to use it.
type Secret [32]byte

// redacted is what is shown instead of a secret.
const redacted = "[secret]"

// String hides the key.
func (Secret) String() string { return redacted }

// GoString hides the key from %#v.
func (Secret) GoString() string { return redacted }

// LogValue hides the key from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
