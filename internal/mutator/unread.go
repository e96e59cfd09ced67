package mutator

import (
	"k8s.io/apimachinery/pkg/api/equality"
	kjson "sigs.k8s.io/json"

	"sts-mutating-webhook/internal/jsonscan"
)

// unread is a member of the spec that is kept as it was written, and looked at
// only if a rule asks for it. A mistake in it is denied only then.
type unread struct {
	text  []byte // JSON; nil if the member is absent
	times int    // it occurred
}

// value returns the text of the member, nil if it is absent or null.
func (u *unread) value(path string) ([]byte, error) {
	if u.times > 1 {
		return nil, &fault{path, "the member occurs twice"}
	}
	return unlessNull(u.text), nil
}

func unlessNull(text []byte) []byte {
	if string(text) == "null" {
		return nil
	}
	return text
}

// memberOf returns a member of an object, nil if it is absent or null, as it is if
// the object is.
func memberOf(object []byte, path, name, memberPath string) (value []byte, err error) {
	if object == nil {
		return nil, nil
	}
	scan := jsonscan.New(object)
	if scan.Peek() != '{' {
		return nil, &fault{path, "not an object"}
	}
	times := 0
	err = scan.Object(func(found []byte) error {
		if string(found) != name {
			return scan.Skip()
		}
		times++
		scan.Peek()
		start := scan.Pos()
		err := scan.Skip()
		value = scan.Since(start)
		return err
	})
	if err != nil {
		return nil, &fault{path, err.Error()}
	}
	if times > 1 {
		return nil, &fault{memberPath, "the member occurs twice"}
	}
	return unlessNull(value), nil
}

// contains reports whether an element of the array means the same as want, and
// nothing besides: an element with a field that this program does not know is
// another one.
func contains[T any](array []byte, path string, want T) (found bool, err error) {
	if array == nil {
		return false, nil
	}
	scan := jsonscan.New(array)
	if scan.Peek() != '[' {
		return false, &fault{path, "not an array"}
	}
	err = scan.Array(func() error {
		scan.Peek()
		start := scan.Pos()
		if err := scan.Skip(); err != nil || found {
			return err
		}
		var got T
		unknown, err := kjson.UnmarshalStrict(scan.Since(start), &got)
		found = err == nil && len(unknown) == 0 && equality.Semantic.DeepEqual(got, want)
		return nil
	})
	if err != nil {
		return false, &fault{path, err.Error()}
	}
	return found, nil
}
