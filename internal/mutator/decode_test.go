package mutator

import (
	"strings"
	"testing"
)

// The typed decoders disagree on what a member means that occurs twice: the
// last one, or both merged. Where it decides, we do not choose.
func TestMemberOfThePodThatOccursTwiceIsRefused(t *testing.T) {
	for object, want := range map[string]string{
		`{"metadata":{},"metadata":{}}`:                                                                   `read metadata: the member occurs twice`,
		`{"spec":{},"spec":null}`:                                                                         `read spec: the member occurs twice`,
		`{"metadata":{"name":"a","name":"a"}}`:                                                            `read metadata.name: the member occurs twice`,
		`{"metadata":{"labels":{},"labels":{}}}`:                                                          `read metadata.labels: the member occurs twice`,
		`{"metadata":{"annotations":{},"annotations":{}}}`:                                                `read metadata.annotations: the member occurs twice`,
		`{"metadata":{"ownerReferences":[],"ownerReferences":[]}}`:                                        `read metadata.ownerReferences: the member occurs twice`,
		`{"spec":{"nodeSelector":{},"nodeSelector":{}}}`:                                                  `read spec.nodeSelector: the member occurs twice`,
		`{"metadata":{"labels":{"ab-build-different":"true","ab-build-different":"true"}}}`:               `read metadata.labels[ab-build-different]: the member occurs twice`,
		`{"metadata":{"labels":{"apps.kubernetes.io/pod-index":"1","apps.kubernetes.io/pod-index":"1"}}}`: `read metadata.labels[apps.kubernetes.io/pod-index]: the member occurs twice`,
		`{"metadata":{"annotations":{"custom-node-selector":"a","custom-node-selector":"a"}}}`:            `read metadata.annotations[custom-node-selector]: the member occurs twice`,
		`{"metadata":{"annotations":{"custom-node-selector":null,"custom-node-selector":"a"}}}`:           `read metadata.annotations[custom-node-selector]: the member occurs twice`,
		`{"metadata":{"annotations":{"custom-node-selector":"a","custom-node-\u0073elector":"a"}}}`:       `read metadata.annotations[custom-node-selector]: the member occurs twice`,
		`{"metadata":{"ownerReferences":[{"controller":true,"controller":true}]}}`:                        `read metadata.ownerReferences: the member occurs twice`,
	} {
		r, err := decode([]byte(reviewOf(object)))
		if err != nil || r.podErr == nil || r.podErr.Error() != want {
			t.Errorf("%s: got %v, error of the review %v, want %s", object, r.podErr, err, want)
		}
	}
}

func TestMemberOfTheReviewThatOccursTwiceIsRefused(t *testing.T) {
	review := reviewOf(`{"metadata":[]}`)
	for _, member := range []string{
		`"kind":"AdmissionReview"`, `"apiVersion":"admission.k8s.io/v1"`, `"uid":"u1"`, `"namespace":"shop"`, `"operation":"CREATE"`,
		`"kind":{"group":"","version":"v1","kind":"Pod"}`, `"resource":{"group":"","version":"v1","resource":"pods"}`, `"object":{"metadata":[]}`,
	} {
		_, err := decode([]byte(strings.Replace(review, member, member+","+member, 1)))
		if err == nil || !strings.HasSuffix(err.Error(), "the member occurs twice") {
			t.Errorf("%s: got error %v", member, err)
		}
	}
}
