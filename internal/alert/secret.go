package alert

import (
	"fmt"
	"log/slog"
	"strings"
)

// redacted is what a secret prints as, whatever prints it.
const redacted = "<redacted>"

// secret holds a text that must never be printed. The text lives in a closure
// because fmt reads unexported string fields by reflection without asking their
// methods; a closure shows nothing but an address. The zero value is empty.
type secret struct {
	text func() string
}

func newSecret(text string) secret { return secret{text: func() string { return text }} }

// reveal returns the text. Only signing and the request's URL may ask for it.
func (s secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// Format serves every verb of fmt.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// String serves direct calls and printers other than fmt.
func (s secret) String() string { return redacted }

// MarshalText serves encoding/json (also as a map's key), YAML and flags.
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue serves log/slog.
func (s secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalLog serves logr.
func (s secret) MarshalLog() any { return redacted }

// scrub replaces the secrets' texts in s. It is the last defence for texts of
// others (errors of net, answers of a server); our own never hold a secret.
func scrub(s string, secrets ...string) string {
	for _, hidden := range secrets {
		if hidden != "" {
			s = strings.ReplaceAll(s, hidden, redacted)
		}
	}
	return s
}
