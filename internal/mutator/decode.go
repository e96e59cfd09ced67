package mutator

import (
	"errors"
	"fmt"

	"sts-mutating-webhook/internal/jsonscan"
)

// What an AdmissionReview must say of itself. v1 is the only version since
// Kubernetes 1.22, and the only one our webhook configuration asks for.
const (
	reviewAPIVersion = "admission.k8s.io/v1"
	reviewKind       = "AdmissionReview"
)

// review is what the handler needs of an AdmissionReview. Its strings are
// copies; the byte slices of its pod are parts of the body, so a review must not
// be used once the body's buffer is.
type review struct {
	uid       string
	namespace string
	dryRun    bool

	kind        groupVersionName
	resource    groupVersionName
	subresource string
	operation   string

	pod pod
	// podErr means that the object cannot be read as a Pod, or in more than
	// one way; a *fault, or nil. It matters only if the request creates a pod.
	podErr error
}

// groupVersionName is a GroupVersionKind or a GroupVersionResource.
type groupVersionName struct{ group, version, name string }

// createsPod reports whether the request creates a pod itself, not a subresource
// such as pods/binding or pods/eviction, whose object is no Pod. Anything else
// comes only from a webhook configuration wider than ours.
func (r *review) createsPod() bool {
	return r.operation == "CREATE" &&
		r.resource == groupVersionName{"", "v1", "pods"} &&
		r.kind == groupVersionName{"", "v1", "Pod"} &&
		r.subresource == ""
}

// decode reads an AdmissionReview. An error means that the body is not one, and
// has no other answer than an HTTP error. The meaning is that of decoding into
// the typed structures as the API server does (names are case-sensitive, null
// is the zero value, unknown members are ignored), with one exception: a member
// that is read and occurs twice is refused, for the typed decoders do not agree
// on whether the last one wins or both are merged.
func decode(body []byte) (review, error) {
	d := decoder{scan: jsonscan.New(body)}
	if err := d.document(); err != nil {
		return review{}, err
	}
	if err := d.scan.End(); err != nil {
		return review{}, err
	}
	if d.fault != nil {
		return review{}, d.fault
	}
	if d.apiVersion.value != reviewAPIVersion || d.kind.value != reviewKind {
		return review{}, fmt.Errorf("read AdmissionReview: got apiVersion %s, kind %s, want %s, %s",
			quote(d.apiVersion.value), quote(d.kind.value), reviewAPIVersion, reviewKind)
	}
	if d.review.uid == "" {
		return review{}, errors.New("read AdmissionReview: request.uid is missing")
	}
	return d.review, nil
}

// member is a string in an object of the document.
type member struct {
	value string
	// set means that the member occurred, be it as null.
	set bool
}

// decoder fills a review in one pass over the body.
type decoder struct {
	scan   jsonscan.Scanner
	review review
	// fault is the first thing that is JSON but not what the document may
	// hold. Reading goes on, because syntax errors come first: they, unlike
	// a fault inside the pod, leave nobody to answer.
	fault *fault

	apiVersion, kind member
	seenRequest      bool
}

// fault is a member that is JSON but not what it must be.
type fault struct{ path, problem string }

func (f *fault) Error() string { return "read " + f.path + ": " + f.problem }

// fail notes the first fault.
func (d *decoder) fail(path, problem string) {
	if d.fault == nil {
		d.fault = &fault{path, problem}
	}
}

// again reports whether a member was seen before, fails if so, and marks it.
func (d *decoder) again(path string, seen *bool) bool {
	if *seen {
		d.fail(path, "the member occurs twice")
		return true
	}
	*seen = true
	return false
}

// object reads an object or null. seen must be the same variable for each
// occurrence of the same member.
func (d *decoder) object(path string, seen *bool, each func(name []byte) error) error {
	if d.again(path, seen) {
		return d.scan.Skip()
	}
	switch d.scan.Peek() {
	case '{':
		return d.scan.Object(each)
	case 'n':
	default:
		d.fail(path, "not an object")
	}
	return d.scan.Skip()
}

// text reads a string or null.
func (d *decoder) text(path string, into *member) error {
	if d.again(path, &into.set) {
		return d.scan.Skip()
	}
	switch d.scan.Peek() {
	case '"':
		text, err := d.scan.Text()
		into.value = known(text)
		return err
	case 'n':
	default:
		d.fail(path, "not a string")
	}
	return d.scan.Skip()
}

// known returns text as a string, without an allocation for the words that
// nearly every review consists of.
func known(text []byte) string {
	switch string(text) {
	case "CREATE":
		return "CREATE"
	case "v1":
		return "v1"
	case "Pod":
		return "Pod"
	case "pods":
		return "pods"
	case optInValue:
		return optInValue
	case "apps/v1":
		return "apps/v1"
	case "StatefulSet":
		return "StatefulSet"
	case reviewAPIVersion:
		return reviewAPIVersion
	case reviewKind:
		return reviewKind
	}
	return string(text)
}

// flag reads a boolean or null.
func (d *decoder) flag(path string, seen, into *bool) error {
	if d.again(path, seen) {
		return d.scan.Skip()
	}
	switch d.scan.Peek() {
	case 't':
		*into = true
	case 'f', 'n':
	default:
		d.fail(path, "not a boolean")
	}
	return d.scan.Skip()
}

// unreadText passes over a value that must be a string or null.
func (d *decoder) unreadText(path string) error {
	if c := d.scan.Peek(); c != '"' && c != 'n' {
		d.fail(path, "not a string")
	}
	return d.scan.Skip()
}
