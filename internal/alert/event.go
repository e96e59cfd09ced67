package alert

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is the group an event belongs to; --alert-on selects groups.
type Kind string

// The kinds of events.
const (
	Trust       Kind = "trust"       // the API server's trust in our certificate was lost or regained
	Certificate Kind = "certificate" // a step or a repair of the CA, the leaf or the caBundle
	Clock       Kind = "clock"       // this node's clock disagrees with the API server's
	Denied      Kind = "denied"      // a pod was refused
	Placed      Kind = "placed"      // a pod was given its node selector
	Gate        Kind = "gate"        // pods wait behind the scheduling gate
	Lifecycle   Kind = "lifecycle"   // a replica of the webhook started or stops
)

// Kinds are all kinds.
var Kinds = []Kind{Trust, Certificate, Clock, Denied, Placed, Gate, Lifecycle}

// DefaultAlertOn is what is reported unless --alert-on says otherwise.
var DefaultAlertOn = []Kind{Denied, Certificate, Trust, Clock, Placed, Gate}

// Event is one thing worth telling. Its texts are untrusted: they may come from
// an annotation. They are copied, so an event never keeps a request's body alive.
type Event struct {
	Kind        Kind
	Reason      string // one of Reasons; others are shown with Details.Text
	Namespace   string // empty for an event of the webhook itself
	StatefulSet string // empty when unknown
	Ordinal     int32  // Placed only
	Key, Value  string // Placed only: the node selector that was set
	Details     Details
}

// Details are the parameters of a reason, from which a message is written; all may
// be zero. Two denials with equal reasons and equal details are the same mistake.
type Details struct {
	Code         string // Denied: what is wrong with the annotation; one of Codes
	Field, Value string // Denied: the field that is wrong and what it holds; PodsWaiting: Value is one of the pods
	Form         string // Denied: the form of rule that was meant, such as values; decides about the example to copy
	Object       string // the object that was written, repaired or refused
	Cause        string // one of Causes
	Manager      string // the field manager that changed Object last
	Count        int    // of repairs, or of pods that wait
	CA           string // start of the CA's fingerprint
	// CAEnds and CertificateEnds are when the CA and the serving certificate expire.
	CAEnds, CertificateEnds time.Time
	Skew                    time.Duration // how far the node's clock is ahead
	Text                    string        // words of a library or of the API server
}

// Bounds of an event's texts in bytes. A pod of a StatefulSet carries its name as a
// label value, which has at most 63 bytes, so a longer name cannot be that of a
// StatefulSet. Kubernetes allows 317 for a label key.
const (
	maxNameBytes   = 63
	maxKeyBytes    = 317
	maxValueBytes  = 63
	maxDetailBytes = 200
)

// lineKey is what makes two events the same news.
type lineKey struct {
	kind                   Kind
	reason                 string
	namespace, statefulSet string
	place                  place // Placed only
	details                Details
}

// place is the node selector that was set.
type place struct{ key, value string }

// keyOf cuts the event's texts to their bounds. It allocates nothing: the strings
// still point into the event.
func keyOf(e Event) lineKey {
	k := lineKey{kind: e.Kind, reason: cut(e.Reason, maxNameBytes), namespace: e.Namespace, statefulSet: e.StatefulSet}
	k.details = e.Details.each(func(text string) string { return cut(text, maxDetailBytes) })
	return k
}

// each returns the details with f applied to every text.
func (d Details) each(f func(string) string) Details {
	d.Code, d.Field, d.Value, d.Object = f(d.Code), f(d.Field), f(d.Value), f(d.Object)
	d.Cause, d.Manager, d.CA, d.Text = f(d.Cause), f(d.Manager), f(d.CA), f(d.Text)
	return d
}

// clone copies the key's strings, so that the caller's memory can be freed.
func (k lineKey) clone() lineKey {
	k.kind, k.reason = Kind(strings.Clone(string(k.kind))), strings.Clone(k.reason)
	k.namespace, k.statefulSet = strings.Clone(k.namespace), strings.Clone(k.statefulSet)
	k.place = place{strings.Clone(k.place.key), strings.Clone(k.place.value)}
	k.details = k.details.each(strings.Clone)
	return k
}

// possible reports whether the event's names can be those of objects that exist. Names
// are checked here because a pod is stored only after its admission: whoever may
// create pods could otherwise write to the group by them.
func (e Event) possible() bool {
	if e.Kind != Denied && e.Kind != Placed {
		return true
	}
	return possibleName(e.Namespace) && (e.StatefulSet == "" || possibleName(e.StatefulSet))
}

// possibleName is RFC 1123's rule for names, with the length of a label value.
func possibleName(name string) bool {
	if name == "" || len(name) > maxNameBytes {
		return false
	}
	before := byte('.')
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case c == '-' && before != '.':
		case c == '.' && before != '.' && before != '-':
		default:
			return false
		}
		before = c
	}
	return before != '-' && before != '.'
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
