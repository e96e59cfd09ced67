package mutator

import (
	"strings"

	"sts-mutating-webhook/internal/placement"
)

// pointerEscaper escapes a reference token of a JSON pointer (RFC 6901).
var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// patchFor returns the JSON patch that gives the pod what the assignments want:
// entries of nodeSelector (the whole of it with ReplaceExisting, if there is an
// entry to replace it with), terms of preferred node affinity, and tolerations;
// nil if it has them already. It touches nothing else but the annotations that say
// what it did, and our own scheduling gate: applying it and asking again yields nil.
// conflict means that an entry of the pod's own nodeSelector is replaced.
//
// The operations are add and replace, and remove for the gate. A test that fails is
// an error 500 for the user, and another remove would take away what somebody else
// wrote.
func patchFor(p *pod, s Settings, assignments []placement.Assignment) (text []byte, conflict bool, err error) {
	if !p.hasSpec {
		return nil, false, &fault{"spec", "it is missing"}
	}
	b := patch{size: 2}
	for _, a := range assignments {
		b.size += 80 + len(a.Key) + len(a.Value)
	}
	if err := b.selector(p, s, assignments); err != nil {
		return nil, false, err
	}
	if err := b.preferences(p, assignments); err != nil {
		return nil, false, err
	}
	if err := b.tolerations(p, assignments); err != nil {
		return nil, false, err
	}
	if err := b.gate(p, assignments); err != nil {
		return nil, false, err
	}
	if b.text == nil {
		return nil, false, nil
	}
	return append(b.text, ']'), b.conflict, nil
}

// patch is a JSON patch in the making. Its zero value holds no operation.
type patch struct {
	text []byte
	size int // the bytes that it will probably need
	// conflict: an entry of the pod's own nodeSelector is replaced.
	conflict bool
}

// open begins an operation, up to the part of its path that follows the prefix.
// Whatever completes it closes the path, the value and the operation.
func (b *patch) open(op, path string) {
	if b.text == nil {
		b.text = append(make([]byte, 0, b.size), '[')
	} else {
		b.text = append(b.text, ',')
	}
	b.raw(`{"op":"`, op, `","path":"`, path)
}

// raw appends JSON.
func (b *patch) raw(parts ...string) {
	for _, part := range parts {
		b.text = append(b.text, part...)
	}
}

// string appends the inside of a JSON string.
func (b *patch) string(text string) { b.text = appendEscaped(b.text, text) }

// selector adds the operations on spec.nodeSelector.
func (b *patch) selector(p *pod, s Settings, assignments []placement.Assignment) error {
	required, done, entries := 0, 0, 0
	for i := range assignments {
		a := &assignments[i]
		if a.Preferred {
			continue
		}
		state, n, err := p.selector.lookup(a.Key, a.Value)
		if err != nil {
			return err
		}
		required, entries = required+1, n
		if state == right {
			done++
		}
	}
	replace := s.ReplaceExisting && p.replacedFor.value != p.name && required > 0
	if replace {
		b.mark(p.name)
		replace = done < required || entries > required
	}
	switch {
	case replace && entries > 0:
		b.conflict = true
		b.wholeSelector("replace", assignments)
	case done == required:
	case entries == 0:
		b.wholeSelector("add", assignments)
	default:
		return b.selectorEntries(p, assignments)
	}
	return nil
}

// mark notes that the selector of this pod was replaced. When the API server
// calls again because another webhook changed the pod (reinvocationPolicy:
// IfNeeded), what that one added stays. The pod's name in it keeps a copied
// template from passing for a marked pod.
func (b *patch) mark(podName string) {
	b.size += 80 + len(replacedPointer) + len(podName)
	b.open("add", replacedPointer)
	b.raw(`","value":"`)
	b.string(podName)
	b.raw(`"}`)
}

// replacedPointer is the JSON pointer to replacedKey. The annotations exist: ours is one of them.
var replacedPointer = "/metadata/annotations/" + pointerEscaper.Replace(replacedKey)

// wholeSelector sets the whole nodeSelector.
func (b *patch) wholeSelector(op string, assignments []placement.Assignment) {
	b.open(op, `/spec/nodeSelector","value":{`)
	separator := `"`
	for _, a := range assignments {
		if a.Preferred {
			continue
		}
		b.raw(separator)
		b.string(a.Key)
		b.raw(`":"`)
		b.string(a.Value)
		separator = `","`
	}
	b.raw(`"}}`)
}

// selectorEntries sets those entries of a nodeSelector with others that are not
// right yet.
func (b *patch) selectorEntries(p *pod, assignments []placement.Assignment) error {
	for _, a := range assignments {
		if a.Preferred {
			continue
		}
		state, _, err := p.selector.lookup(a.Key, a.Value)
		if err != nil {
			return err
		}
		op := "add"
		switch state {
		case right:
			continue
		case different:
			op, b.conflict = "replace", true
		}
		b.open(op, "/spec/nodeSelector/")
		b.string(pointerEscaper.Replace(a.Key))
		b.raw(`","value":"`)
		b.string(a.Value)
		b.raw(`"}`)
	}
	return nil
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
