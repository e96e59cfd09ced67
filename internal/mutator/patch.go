package mutator

import "strings"

// pointerEscaper escapes a reference token of a JSON pointer (RFC 6901).
var pointerEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// patchFor returns the JSON patch that makes nodeSelector[key] equal to value,
// or the whole nodeSelector equal to {key: value} with ReplaceExisting; nil if
// that holds already. It touches nothing else but, with ReplaceExisting, the
// annotation that says so: applying it and asking again yields nil.
//
// The operation is add or replace. A test that fails is an error 500 for the
// user, and a remove would take away what somebody else wrote.
func patchFor(p *pod, s Settings, key, value string) ([]byte, error) {
	if !p.hasSpec {
		return nil, &fault{"spec", "it is missing"}
	}
	current, found, entries, err := p.selector.lookup(key)
	if err != nil {
		return nil, &fault{selectorPath, err.Error()}
	}
	if found > 1 {
		return nil, &fault{selectorPath, "the key " + quote(key) + " occurs twice"}
	}
	right := found == 1 && current == value
	replace := s.ReplaceExisting && p.replacedFor.value != p.name
	switch {
	case replace && right && entries == 1:
		return append(startMark(p.name, 0), ']'), nil
	case replace && entries == 0:
		return patchWhole(append(startMark(p.name, len(key)+len(value)), ','), "add", key, value), nil
	case replace:
		return patchWhole(append(startMark(p.name, len(key)+len(value)), ','), "replace", key, value), nil
	case right:
		return nil, nil
	case entries == 0:
		return patchWhole(startPatch(len(key)+len(value)), "add", key, value), nil
	case found == 1:
		return patchEntry("replace", key, value), nil
	}
	return patchEntry("add", key, value), nil
}

// startMark opens a patch with the operation that notes that the selector of this
// pod was replaced. When the API server calls again because another webhook
// changed the pod (reinvocationPolicy: IfNeeded), what that one added stays.
// The pod's name in it keeps a copied template from passing for a marked pod.
func startMark(podName string, size int) []byte {
	patch := startPatch(len(podName) + len(replacedPointer) + 40 + size)
	patch = append(patch, `{"op":"add","path":"`...)
	patch = append(patch, replacedPointer...)
	patch = append(patch, `","value":"`...)
	patch = appendEscaped(patch, podName)
	return append(patch, `"}`...)
}

// replacedPointer is the JSON pointer to replacedKey. The annotations exist: ours is one of them.
var replacedPointer = "/metadata/annotations/" + pointerEscaper.Replace(replacedKey)

// patchWhole sets the whole nodeSelector to {key: value} and closes the patch.
func patchWhole(patch []byte, op, key, value string) []byte {
	patch = appendSelectorOp(patch, op)
	patch = append(patch, `","value":{"`...)
	patch = appendEscaped(patch, key)
	patch = append(patch, `":"`...)
	patch = appendEscaped(patch, value)
	return append(patch, `"}}]`...)
}

// patchEntry sets one entry of a nodeSelector that exists.
func patchEntry(op, key, value string) []byte {
	patch := appendSelectorOp(startPatch(len(key)+len(value)), op)
	patch = append(patch, '/')
	patch = appendEscaped(patch, pointerEscaper.Replace(key))
	patch = append(patch, `","value":"`...)
	patch = appendEscaped(patch, value)
	return append(patch, `"}]`...)
}

// startPatch opens a patch. Room is left for one operation on the nodeSelector and
// size bytes more.
func startPatch(size int) []byte { return append(make([]byte, 0, 80+size), '[') }

// appendSelectorOp opens an operation, up to the pointer to the nodeSelector.
func appendSelectorOp(patch []byte, op string) []byte {
	patch = append(patch, `{"op":"`...)
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
