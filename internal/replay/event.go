package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
)

// webhook is the name of ours in every installation: that of its Service. gated is the one for pods behind the optional gate.
const (
	webhook = "sts-webhook.custom-system.svc"
	gated   = "gated." + webhook
)

func ours(name string) bool { return name == webhook || name == gated }

// Prefixes of the annotations in which the API server records the webhooks that it called.
const (
	mutationPrefix   = "mutation.webhook.admission.k8s.io/"
	patchPrefix      = "patch.webhook.admission.k8s.io/"
	failedOpenPrefix = "failed-open.mutation.webhook.admission.k8s.io/"
	truncatedKey     = "audit.k8s.io/truncated"
)

// event is what matters of an Event of audit.k8s.io/v1.
type event struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	AuditID    string `json:"auditID"`
	Level      string `json:"level"`
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	Received   string `json:"requestReceivedTimestamp"`
	ObjectRef  struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"responseStatus"`
	RequestObject json.RawMessage   `json:"requestObject"`
	Annotations   map[string]string `json:"annotations"`
}

// readEvent returns nil for what is no audit event.
func readEvent(line []byte) *event {
	var e event
	if err := kjson.UnmarshalCaseSensitivePreserveInts(line, &e); err != nil || e.Kind != "Event" || e.APIVersion != "audit.k8s.io/v1" {
		return nil
	}
	return &e
}

// aboutPods reports whether the event is the last one of a request for pods themselves, not a subresource.
func (e *event) aboutPods() bool {
	return e.Stage == "ResponseComplete" && e.ObjectRef.APIGroup == "" && e.ObjectRef.Resource == "pods" && e.ObjectRef.Subresource == ""
}

// call is one call of a webhook.
type call struct {
	round, index int
	webhook      string
	patch        json.RawMessage // nil if the webhook changed nothing
}

// calls returns the calls of webhooks that the event records, in the order in which they were made.
func (e *event) calls() (calls []call, err error) {
	for key, value := range e.Annotations {
		place, ok := strings.CutPrefix(key, mutationPrefix)
		if !ok {
			continue
		}
		var c call
		if _, err := fmt.Sscanf(place, "round_%d_index_%d", &c.round, &c.index); err != nil {
			return nil, fmt.Errorf("read annotation %q: %w", key, err)
		}
		var recorded struct{ Webhook string }
		if err := json.Unmarshal([]byte(value), &recorded); err != nil {
			return nil, fmt.Errorf("read annotation %q: %w", key, err)
		}
		c.webhook = recorded.Webhook
		if value, ok := e.Annotations[patchPrefix+place]; ok {
			var recorded struct{ Patch json.RawMessage }
			if err := json.Unmarshal([]byte(value), &recorded); err != nil {
				return nil, fmt.Errorf("read annotation %q: %w", patchPrefix+place, err)
			}
			c.patch = recorded.Patch
		}
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b call) int { return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.index, b.index)) })
	return calls, nil
}

// failed means that the API server got no decision from our webhook.
func (e *event) failed() bool {
	for key, value := range e.Annotations {
		if strings.HasPrefix(key, failedOpenPrefix) && ours(value) {
			return true
		}
	}
	return strings.Contains(e.ResponseStatus.Message, fmt.Sprintf("failed calling webhook %q", webhook)) // the other one's policy is Ignore
}

// denial is the text with which our webhook refused the pod, empty if it did not.
func (e *event) denial() string {
	for _, name := range []string{webhook, gated} {
		if message, ok := strings.CutPrefix(e.ResponseStatus.Message, fmt.Sprintf("admission webhook %q denied the request", name)); ok {
			return strings.TrimLeft(message, ": ")
		}
	}
	return ""
}
