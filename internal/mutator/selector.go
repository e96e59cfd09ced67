package mutator

import "sts-mutating-webhook/internal/jsonscan"

// selector is a pod's spec.nodeSelector as it stands in the request: a JSON
// object of strings that the decoder has checked. Empty means that there is
// none. It is not decoded into a map, because few keys of it matter and the
// rest must stay as it is.
type selector []byte

// entryState is what a selector holds under a key.
type entryState int

const (
	missing   entryState = iota
	different            // another value
	right                // the value that was asked for
)

// lookup says what the selector holds under key, compared with value, and how
// many entries there are. An error is a *fault.
func (s selector) lookup(key, value string) (state entryState, entries int, err error) {
	if len(s) == 0 {
		return missing, 0, nil
	}
	twice := false
	scan := jsonscan.New(s)
	err = scan.Object(func(name []byte) error {
		entries++
		if string(name) != key {
			return scan.Skip()
		}
		twice = state != missing
		state = different
		if scan.Peek() != '"' { // null, which is the empty string to Kubernetes
			if value == "" {
				state = right
			}
			return scan.Skip()
		}
		text, err := scan.Text()
		if string(text) == value {
			state = right
		}
		return err
	})
	if err != nil {
		return missing, 0, &fault{selectorPath, err.Error()}
	}
	if twice {
		return missing, 0, &fault{selectorPath, "the key " + quote(key) + " occurs twice"}
	}
	return state, entries, nil
}
