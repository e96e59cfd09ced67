package placement

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// The functions here are apimachinery's validation, with a short cut for what
// nearly everybody writes: its regular expressions take a microsecond each, on
// the path of every pod.

// maxName is the longest name that Kubernetes stores, in bytes.
const maxName = 253

// NameProblem says why no pod or StatefulSet can have this name, "" if one can.
func NameProblem(name string) string {
	simple := len(name) > 0 && len(name) <= maxName && name[0] != '-' && name[len(name)-1] != '-'
	for i := 0; simple && i < len(name); i++ {
		c := name[i]
		simple = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
	}
	if simple {
		return ""
	}
	return strings.Join(content.IsDNS1123Subdomain(name), "; ")
}

// valueProblem says why no label can have this value, "" if one can.
func valueProblem(value string) string {
	if value == "" || simpleLabel(value) {
		return ""
	}
	return strings.Join(content.IsLabelValue(value), "; ")
}

// keyProblem says why no label can have this key, "" if one can.
func keyProblem(key string) string {
	prefix, name, prefixed := strings.Cut(key, "/")
	if !prefixed {
		name = key
	}
	if simpleLabel(name) && (!prefixed || prefix != "" && NameProblem(prefix) == "") {
		return ""
	}
	return strings.Join(content.IsLabelKey(key), "; ")
}

// simpleLabel reports whether text can be a label's value, and its key: at most 63
// letters, digits, dashes, underscores and dots, a letter or digit at each end.
func simpleLabel(text string) bool {
	if text == "" || len(text) > content.LabelValueMaxLength || !alphanumeric(text[0]) || !alphanumeric(text[len(text)-1]) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
