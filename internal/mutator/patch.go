package mutator

import (
	"errors"
	"fmt"
	"strings"
)

// pointerEscaper escapes a reference token of a JSON pointer (RFC 6901).
var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// patchFor returns the JSON patch that makes nodeSelector[key] equal to value,
// or the whole nodeSelector equal to {key: value} with ReplaceExisting; nil if
// that holds already. It touches nothing else, so applying it and asking again
// yields nil.
//
// The operation is add or replace. A test that fails is an error 500 for the
// user, and a remove would take away what somebody else wrote.
func patchFor(p *pod, s Settings, key, value string) ([]byte, error) {
	if !p.hasSpec {
		return nil, errors.New("spec is missing")
	}
	current, found, entries, err := p.selector.lookup(key)
	if err != nil {
		return nil, fmt.Errorf("read spec.nodeSelector: %w", err)
	}
	if found > 1 {
		return nil, fmt.Errorf("spec.nodeSelector has the key %s twice", quote(key))
	}
	right := found == 1 && current == value
	switch {
	case right && (entries == 1 || !s.ReplaceExisting):
		return nil, nil
	case entries == 0:
		return patchWhole("add", key, value), nil
	case s.ReplaceExisting:
		return patchWhole("replace", key, value), nil
	case found == 1:
		return patchEntry("replace", key, value), nil
	}
	return patchEntry("add", key, value), nil
}

// patchWhole sets the whole nodeSelector to {key: value}.
func patchWhole(op, key, value string) []byte {
	patch := startPatch(op, len(key)+len(value))
	patch = append(patch, `","value":{"`...)
	patch = appendEscaped(patch, key)
	patch = append(patch, `":"`...)
	patch = appendEscaped(patch, value)
	return append(patch, `"}}]`...)
}

// patchEntry sets one entry of a nodeSelector that exists.
func patchEntry(op, key, value string) []byte {
	patch := startPatch(op, len(key)+len(value))
	patch = append(patch, '/')
	patch = appendEscaped(patch, pointerEscaper.Replace(key))
	patch = append(patch, `","value":"`...)
	patch = appendEscaped(patch, value)
	return append(patch, `"}]`...)
}

// startPatch opens a patch of one operation, up to the pointer to the
// nodeSelector. Room is left for size bytes of keys and values.
func startPatch(op string, size int) []byte {
	patch := make([]byte, 0, 80+size)
	patch = append(patch, `[{"op":"`...)
	patch = append(patch, op...)
	return append(patch, `","path":"/spec/nodeSelector`...)
}

// appendEscaped appends text as the inside of a JSON string.
func appendEscaped(dst []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted := mustMarshal(text)
			return append(dst, quoted[1:len(quoted)-1]...)
		}
	}
	return append(dst, text...)
}
