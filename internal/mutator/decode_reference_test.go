package mutator

import (
	"encoding/json"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// facts is a review in comparable form.
type facts struct {
	UID, Namespace, Operation, SubResource string
	DryRun                                 bool
	Kind, Resource                         groupVersionName
	Name, OptIn                            string
	PodIndex, Annotation                   *string
	Controller                             owner
	Revision                               string
	HasSpec                                bool
	Selector                               map[string]string
	GateLabel                              bool
	Placed                                 *string
	// Affinity, Tolerations and Gates are JSON as it was written.
	Affinity, Tolerations, Gates string
}

// narrowReview is the part of a review that decisions rest on, with the names
// and types of the Kubernetes API. Decoded by the API server's decoder it is
// the reference in both directions: what it refuses must be refused, what it
// accepts must be accepted with the same facts.
type narrowReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Request    *struct {
		UID         string                      `json:"uid"`
		Kind        metav1.GroupVersionKind     `json:"kind"`
		Resource    metav1.GroupVersionResource `json:"resource"`
		SubResource string                      `json:"subResource"`
		Namespace   string                      `json:"namespace"`
		Operation   string                      `json:"operation"`
		DryRun      *bool                       `json:"dryRun"`
		Object      narrowPod                   `json:"object"`
	} `json:"request"`
}

type narrowPod struct {
	Metadata struct {
		Name            string            `json:"name"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
		OwnerReferences []narrowOwner     `json:"ownerReferences"`
	} `json:"metadata"`
	Spec *struct {
		NodeSelector map[string]string `json:"nodeSelector"`
		Affinity     json.RawMessage   `json:"affinity"`
		Tolerations  json.RawMessage   `json:"tolerations"`
		Gates        json.RawMessage   `json:"schedulingGates"`
	} `json:"spec"`
}

type narrowOwner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller *bool  `json:"controller"`
}

// reference decodes a body both ways. refused means that the narrow decoder
// found an error in a part that matters; doubled that a member occurs twice,
// which we may refuse.
func reference(body []byte) (f facts, refused, doubled bool) {
	var narrow narrowReview
	duplicates, err := kjson.UnmarshalStrict(body, &narrow, kjson.DisallowDuplicateFields)
	request := narrow.Request
	if err != nil || request == nil || request.UID == "" ||
		narrow.APIVersion != "admission.k8s.io/v1" || narrow.Kind != "AdmissionReview" {
		return facts{}, true, len(duplicates) > 0
	}
	meta := request.Object.Metadata
	f = facts{
		UID: request.UID, Namespace: request.Namespace, Operation: request.Operation,
		SubResource: request.SubResource, DryRun: request.DryRun != nil && *request.DryRun,
		Kind:     groupVersionName{request.Kind.Group, request.Kind.Version, request.Kind.Kind},
		Resource: groupVersionName{request.Resource.Group, request.Resource.Version, request.Resource.Resource},
		Name:     meta.Name, OptIn: meta.Labels["ab-build-different"],
		PodIndex:   entry(meta.Labels, "apps.kubernetes.io/pod-index"),
		Annotation: entry(meta.Annotations, "custom-node-selector"), Placed: entry(meta.Annotations, placedKey),
		GateLabel: entry(meta.Labels, gateLabel) != nil, Revision: meta.Labels["controller-revision-hash"],
		HasSpec:  request.Object.Spec != nil,
		Selector: map[string]string{},
	}
	for _, o := range meta.OwnerReferences {
		if o.Controller != nil && *o.Controller {
			f.Controller = owner{o.APIVersion, o.Kind, o.Name, o.UID}
			break
		}
	}
	if spec := request.Object.Spec; spec != nil {
		f.Affinity, f.Tolerations, f.Gates = string(spec.Affinity), string(spec.Tolerations), string(spec.Gates)
		if spec.NodeSelector != nil {
			f.Selector = spec.NodeSelector
		}
	}
	return f, false, len(duplicates) > 0
}

// fullReference decodes a body into the real types. ok is false if they do not
// take it, be it for a part that we never look at.
func fullReference(body []byte) (f facts, ok bool) {
	var review admissionv1.AdmissionReview
	if kjson.UnmarshalCaseSensitivePreserveInts(body, &review) != nil || review.Request == nil {
		return facts{}, false
	}
	r := review.Request
	var p corev1.Pod
	if r.Object.Raw != nil && kjson.UnmarshalCaseSensitivePreserveInts(r.Object.Raw, &p) != nil {
		return facts{}, false
	}
	f = facts{
		UID: string(r.UID), Namespace: r.Namespace, Operation: string(r.Operation),
		SubResource: r.SubResource, DryRun: r.DryRun != nil && *r.DryRun,
		Kind:     groupVersionName{r.Kind.Group, r.Kind.Version, r.Kind.Kind},
		Resource: groupVersionName{r.Resource.Group, r.Resource.Version, r.Resource.Resource},
		Name:     p.Name, OptIn: p.Labels["ab-build-different"],
		PodIndex:   entry(p.Labels, "apps.kubernetes.io/pod-index"),
		Annotation: entry(p.Annotations, "custom-node-selector"), Placed: entry(p.Annotations, placedKey),
		GateLabel: entry(p.Labels, gateLabel) != nil, Revision: p.Labels["controller-revision-hash"],
		Selector: map[string]string{},
	}
	if c := metav1.GetControllerOf(&p); c != nil {
		f.Controller = owner{c.APIVersion, c.Kind, c.Name, string(c.UID)}
	}
	if p.Spec.NodeSelector != nil {
		f.Selector = p.Spec.NodeSelector
	}
	return f, true
}

func entry(m map[string]string, key string) *string {
	if value, ok := m[key]; ok {
		return &value
	}
	return nil
}

// factsOf brings a decoded review into comparable form. The selector is read
// through the look-up that decisions use.
func factsOf(t testing.TB, r review) facts {
	t.Helper()
	f := facts{
		UID: r.uid, Namespace: r.namespace, Operation: r.operation, SubResource: r.subresource,
		DryRun: r.dryRun, Kind: r.kind, Resource: r.resource,
		Name: r.pod.name, OptIn: r.pod.optIn.value,
		Controller: r.pod.controller, Revision: r.pod.revision.value, GateLabel: r.pod.gateLabel.set, HasSpec: r.pod.hasSpec,
		Selector: map[string]string{}, Affinity: string(r.pod.affinity.text), Tolerations: string(r.pod.tolerations.text), Gates: string(r.pod.gates.text),
	}
	if r.pod.placed.set {
		f.Placed = &r.pod.placed.value
	}
	if r.pod.podIndex.set {
		f.PodIndex = &r.pod.podIndex.value
	}
	if r.pod.annotation != nil {
		text := string(r.pod.annotation)
		f.Annotation = &text
	}
	if len(r.pod.selector) == 0 {
		return f
	}
	var entries map[string]string
	if err := kjson.UnmarshalCaseSensitivePreserveInts(r.pod.selector, &entries); err != nil {
		t.Fatalf("selector %q was accepted: %v", r.pod.selector, err)
	}
	for key, value := range entries {
		state, n, err := r.pod.selector.lookup(key, value)
		if err != nil && strings.HasSuffix(err.Error(), "occurs twice") {
			state, n, err = right, len(entries), nil // refused, where the typed decoder takes the last
		}
		if err != nil || state != right || n < len(entries) {
			t.Fatalf("look up %q in %q: got state %d of %d entries, error %v", key, r.pod.selector, state, n, err)
		}
		f.Selector[key] = value
	}
	return f
}
