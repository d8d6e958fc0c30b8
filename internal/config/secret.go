package config

import "log/slog"

const redacted = "[secret]"

// Secret is a text that must not be seen: printed, logged or marshalled it
// shows nothing. Convert it to a string where it is used.
type Secret string

// String hides the secret.
func (Secret) String() string { return redacted }

// GoString hides the secret.
func (Secret) GoString() string { return redacted }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
