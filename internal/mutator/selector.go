package mutator

import "sts-mutating-webhook/internal/jsonscan"

// selector is a pod's spec.nodeSelector as it stands in the request: a JSON
// object of strings that the decoder has checked. Empty means that there is
// none. It is not decoded into a map, because one key of it matters and the
// rest must stay as it is.
type selector []byte

// lookup returns the value of key, how often the key occurs, and how many
// entries there are.
func (s selector) lookup(key string) (value string, found, entries int, err error) {
	if len(s) == 0 {
		return "", 0, 0, nil
	}
	scan := jsonscan.New(s)
	err = scan.Object(func(name []byte) error {
		entries++
		if string(name) != key {
			return scan.Skip()
		}
		found++
		if scan.Peek() != '"' { // null, which is the empty string to Kubernetes
			return scan.Skip()
		}
		text, err := scan.Text()
		value = string(text)
		return err
	})
	return value, found, entries, err
}
