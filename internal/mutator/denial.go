package mutator

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/printable"
)

// Why a pod is denied: the values of Denial.Reason, of the metric's label reason
// and of the log's key reason, written as the reasons of Kubernetes' events.
// Dashboards and alert texts rely on them.
const (
	// ReasonPodMalformed: the object is no readable Pod. Never seen from a
	// healthy API server.
	ReasonPodMalformed = "PodMalformed"
	// ReasonPodUnnamed: the pod has no name yet, so it has no ordinal.
	ReasonPodUnnamed = "PodUnnamed"
	// ReasonNameInvalid: the pod or its StatefulSet has a name that Kubernetes
	// does not store. The API server refuses such a pod a moment later, so no
	// observer learns of it: otherwise whoever creates pods could put prose into alerts.
	ReasonNameInvalid = "NameInvalid"
	// ReasonNoStatefulSet: the pod is labelled, but no StatefulSet controls it.
	ReasonNoStatefulSet = "NoStatefulSet"
	// ReasonOrdinalInvalid: the pod's name is not <statefulset>-<ordinal>.
	ReasonOrdinalInvalid = "OrdinalInvalid"
	// ReasonPodIndexMismatch: the pod-index label contradicts the name.
	ReasonPodIndexMismatch = "PodIndexMismatch"
	// ReasonAnnotationMissing: the pod is labelled but has no annotation.
	ReasonAnnotationMissing = "AnnotationMissing"
	// ReasonAnnotationMalformed: the annotation is not JSON.
	ReasonAnnotationMalformed = "AnnotationMalformed"
	// ReasonAnnotationInvalid: the annotation is JSON with the wrong content.
	ReasonAnnotationInvalid = "AnnotationInvalid"
)

// Reasons lists every Reason constant.
func Reasons() []string {
	return []string{
		ReasonPodMalformed, ReasonPodUnnamed, ReasonNameInvalid, ReasonNoStatefulSet, ReasonOrdinalInvalid,
		ReasonPodIndexMismatch, ReasonAnnotationMissing, ReasonAnnotationMalformed, ReasonAnnotationInvalid,
	}
}

// denial is a refusal and its explanation. A user meets the message in the
// StatefulSet's FailedCreate event, so it says what is wrong, with which value,
// and what to do.
type denial struct {
	reason  string // one of Reasons
	problem Problem
	message string
	field   string // path in the Pod
	cause   metav1.CauseType
}

// status is the answer to the API server: 400 for what cannot be read, 422 for
// what can be read and is wrong. The cause repeats the message because kubectl
// prints only the causes of an Invalid status.
func (d *denial) status(podName string) *metav1.Status {
	s := &metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusUnprocessableEntity,
		Reason:  metav1.StatusReasonInvalid,
		Message: d.message,
		Details: &metav1.StatusDetails{
			Kind:   "Pod",
			Name:   podName,
			Causes: []metav1.StatusCause{{Type: d.cause, Message: d.message, Field: d.field}},
		},
	}
	if d.reason == ReasonPodMalformed || d.reason == ReasonAnnotationMalformed {
		s.Code, s.Reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	}
	return s
}

// maxName bounds a name in events and logs, in bytes: the longest that Kubernetes
// stores. Names are validated only after admission.
const maxName = 253

func quote(text string) string { return printable.Quote(text) }

func clip(text string, limit int) string { return printable.Clip(text, limit) }
