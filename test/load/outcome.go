package load

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"sts-mutating-webhook/test/webhook"
)

// Outcome is what became of one creation.
type Outcome int

const (
	// Admitted: created, with the node selector that its ordinal asks for.
	Admitted Outcome = iota
	// Refused: the apiserver could not call the webhook, or got no usable answer.
	Refused
	// Denied: the webhook answered and said no.
	Denied
	// Unmutated: created without the node selector, as if there were no webhook.
	Unmutated
	// WrongSelector: created with another node selector than the ordinal asks for.
	WrongSelector
	// Gated: created without the node selector, behind the webhook's scheduling gate: it
	// waits and is placed later.
	Gated
	// Unavailable: the cluster itself could not answer: no connection, a
	// connection that broke, an apiserver that starts, stops or is overloaded.
	Unavailable

	outcomes
)

func (o Outcome) String() string {
	return [...]string{"admitted", "refused", "denied", "unmutated", "wrong selector", "gated", "unavailable"}[o]
}

// Lost reports whether the webhook is the reason why a pod was not placed.
func (o Outcome) Lost() bool { return o != Admitted && o != Gated && o != Unavailable }

// answer is what classify needs of a Pod or a Status.
type answer struct {
	Message string `json:"message"`
	Spec    struct {
		NodeSelector    map[string]string       `json:"nodeSelector"`
		SchedulingGates []struct{ Name string } `json:"schedulingGates"`
	} `json:"spec"`
}

// webhookFailed is how kube-apiserver begins the message about a webhook that it
// could not call (k8s.io/apiserver, plugin/webhook/errors).
const webhookFailed = "failed calling webhook"

// webhookDenied is in the message about a webhook that said no.
const webhookDenied = "admission webhook "

// classify classifies the answer to the creation of a pod that belongs to the node
// group named want.
func classify(status int, body []byte, want string) (Outcome, string) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return Unavailable, "answer is no JSON: " + http.StatusText(status)
	}
	if status != http.StatusCreated {
		switch {
		case strings.Contains(a.Message, webhookFailed):
			return Refused, cause(a.Message)
		case strings.Contains(a.Message, webhookDenied):
			return Denied, a.Message
		}
		return Unavailable, a.Message
	}
	got, set := a.Spec.NodeSelector[selectorKey]
	switch {
	case !set && len(a.Spec.SchedulingGates) == 1 && a.Spec.SchedulingGates[0].Name == webhook.Gate:
		return Gated, "scheduling gate"
	case !set:
		return Unmutated, "no node selector"
	case got != want:
		return WrongSelector, "node selector " + got + ", want " + want
	}
	return Admitted, ""
}

// cause is what follows the URL in a message about a webhook that could not be
// called, without the parts that differ from call to call.
func cause(message string) string {
	_, after, _ := strings.Cut(message, `": `)
	after = strings.TrimPrefix(after, "failed to call webhook: ")
	if i := strings.LastIndex(after, `s": `); i >= 0 {
		after = after[i+len(`s": `):]
	}
	return cmp.Or(after, message)
}

// Cause is the innermost error, which holds no addresses: why a request got no answer at all.
func Cause(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}
