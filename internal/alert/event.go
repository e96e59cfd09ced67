package alert

import (
	"strings"
	"unicode/utf8"
)

// Kind is the group an event belongs to; --alert-on selects groups.
type Kind string

// The kinds of events, in the order in which a digest shows them.
const (
	Trust       Kind = "trust"       // the API server's trust in our certificate was lost or regained
	Certificate Kind = "certificate" // a step or a repair of the CA, the leaf or the caBundle
	Clock       Kind = "clock"       // this node's clock disagrees with the API server's
	Denied      Kind = "denied"      // a pod was refused
	Placed      Kind = "placed"      // a pod was given its node selector
	Lifecycle   Kind = "lifecycle"   // a replica of the webhook started or stops
)

// Kinds are all kinds, in the order in which a digest shows them.
var Kinds = []Kind{Trust, Certificate, Clock, Denied, Placed, Lifecycle}

// DefaultAlertOn is what is reported unless --alert-on says otherwise.
var DefaultAlertOn = []Kind{Denied, Certificate, Trust, Clock, Placed}

// Event is one thing worth telling. Its texts are untrusted: they may come from
// an annotation. They are copied, so an event never keeps a request's body alive.
type Event struct {
	Kind        Kind
	Reason      string // a machine word: Placed, InvalidAnnotation, CARotated, TrustLost, ClockSkew, Started ...
	Namespace   string // empty for an event of the webhook itself
	StatefulSet string // empty when unknown
	Ordinal     int32  // Placed only
	Key, Value  string // Placed only: the node selector that was set
	Message     string // Denied: what to do; others: the detail. May be empty
}

// Bounds of an event's texts in bytes. Kubernetes allows 253 for a name, 317 for
// a label key and 63 for a label value; a message is what one reads on a phone.
const (
	maxNameBytes    = 253
	maxKeyBytes     = 317
	maxMessageBytes = 600
)

// lineKey is what makes two events the same line of a digest. Key and Value are
// set for Placed alone, so that other events merge by reason and StatefulSet.
type lineKey struct {
	kind                   Kind
	reason                 string
	namespace, statefulSet string
	key, value             string
}

// own tells whether the line is about the webhook itself, not about a tenant's pods.
func (k lineKey) own() bool { return k.namespace == "" && k.kind != Denied && k.kind != Placed }

// keyOf cuts the event's texts to their bounds and returns the line it belongs to.
// It allocates nothing: the strings still point into the event.
func keyOf(e Event) lineKey {
	k := lineKey{
		kind:        e.Kind,
		reason:      cut(e.Reason, maxNameBytes),
		namespace:   cut(e.Namespace, maxNameBytes),
		statefulSet: cut(e.StatefulSet, maxNameBytes),
	}
	if e.Kind == Placed {
		k.key, k.value = cut(e.Key, maxKeyBytes), cut(e.Value, maxNameBytes)
	}
	return k
}

// clone copies the key's strings, so that the caller's memory can be freed.
func (k lineKey) clone() lineKey {
	return lineKey{
		kind:        Kind(strings.Clone(string(k.kind))),
		reason:      strings.Clone(k.reason),
		namespace:   strings.Clone(k.namespace),
		statefulSet: strings.Clone(k.statefulSet),
		key:         strings.Clone(k.key),
		value:       strings.Clone(k.value),
	}
}

// cut returns at most limit bytes of s, never splitting a rune.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
