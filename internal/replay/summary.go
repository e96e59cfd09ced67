package replay

import (
	"fmt"
	"strconv"
)

// Class is what a line of a log is.
type Class int

const (
	// Decided: the webhook decided about a pod, and so did the replay.
	Decided Class = iota
	// OtherRequest: it is not about the creation of a pod.
	OtherRequest
	// NotCalled: the webhook was not called, for the pod did not opt in, or was refused before.
	NotCalled
	// OptedInNotCalled: the pod opted in and was created, and yet the webhook was not called.
	OptedInNotCalled
	// CallFailed: the webhook was called, and did not answer.
	CallFailed
	// NoObject: the event does not hold the pod.
	NoObject
	// Truncated: the event was too large for the API server to log whole.
	Truncated
	// Applied: the pod was created by a server-side apply, of which the log holds only the patch.
	Applied
	// Irreproducible: the log does not tell what pod the webhook was called for.
	Irreproducible
	// NoEvent: the line is no audit event, or only a part of one.
	NoEvent
	// TooLong: the line is longer than MaxLine.
	TooLong
)

// explanations are those of the classes that a user should know of; %s is the number of lines.
var explanations = []struct {
	class Class
	text  string
}{
	{NotCalled, "%s pods that did not opt in, or were refused before the webhook was called"},
	{OptedInNotCalled, "%s opted-in pods for which the webhook was not called: its configuration was missing, or leaves out their namespace"},
	{CallFailed, "%s calls of the webhook that failed"},
	{NoObject, "%s decisions without the pod: create pods with an audit policy of level Request"},
	{Truncated, "%s decisions whose event was truncated: start kube-apiserver with a larger --audit-log-truncate-max-event-size"},
	{Applied, "%s pods created by a server-side apply, of which the log holds only the patch"},
	{Irreproducible, "%s decisions about pods that other webhooks changed in a way that cannot be repeated"},
	{NoEvent, "%s lines that are no audit event of audit.k8s.io/v1, or only a part of one"},
	{TooLong, "%s lines of more than " + "32 MiB"},
}

// Result is the summary in one line: "0 of 12,345 decisions change".
func (r *Replayer) Result() string {
	return fmt.Sprintf("%s of %s decisions change", number(r.Changed), number(r.Counts[Decided]))
}

// PassedOver explains what was not decided again, a line for each class, with the first place of what should not be in a log.
func (r *Replayer) PassedOver() (lines []string) {
	for _, e := range explanations {
		n := r.Counts[e.class]
		if n == 0 {
			continue
		}
		line := fmt.Sprintf("passed over: "+e.text, number(n))
		if e.class >= NoObject {
			line += fmt.Sprintf(" (first at %s)", r.First[e.class])
		}
		lines = append(lines, line)
	}
	return lines
}

// number writes digits in groups of three.
func number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
