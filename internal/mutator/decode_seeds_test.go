package mutator

import (
	"bytes"
	"os"
	"testing"
)

// goldenReview is a review as a kube-apiserver sends it for pod web-13: compact,
// all fields defaulted, managedFields, two containers, 6.9 KB.
func goldenReview(t testing.TB) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(body)
}

// reviewOf wraps an object into a review that creates a pod.
func reviewOf(object string) string {
	return `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1",` +
		`"kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},` +
		`"namespace":"shop","operation":"CREATE","object":` + object + `}}`
}

// decodeSeeds are the inputs on which hand-written JSON decoders differ from
// the typed ones.
func decodeSeeds() []string {
	small := reviewOf(`{"metadata":{"name":"web-1","labels":{"ab-build-different":"true"}},"spec":{"nodeSelector":{"a":"b"}}}`)
	seeds := []string{
		small,
		"", " ", "null", "{}", "[]", `""`, "0", "{", `{"`, "\xef\xbb\xbf{}",
		small + " \n\t\r", small + "x", small + small, small + "\x00",
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`,
		`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":null}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","object":null,"kind":null,"resource":null,"dryRun":null,"operation":null}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","dryRun":"true"}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","dryRun":true,"UID":"v","Uid":"w"}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","uid":"v"}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","object":{},"object":{}}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":{"kind":1}}}`,
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":1,"object":{}}}`,
		"{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"\xff\xfe\"}}",
	}
	for _, object := range objectSeeds {
		seeds = append(seeds, reviewOf(object))
	}
	for i := 0; i < len(small); i += 7 {
		seeds = append(seeds, small[:i])
	}
	return seeds
}

var objectSeeds = []string{
	`null`, `[]`, `"pod"`, `1`, `true`, `{}`,
	`{"metadata":null,"spec":null}`, `{"metadata":{},"spec":{}}`, `{"metadata":[],"spec":1}`,
	`{"metadata":{"name":null,"labels":null,"annotations":null,"ownerReferences":null},"spec":{"nodeSelector":null}}`,
	`{"metadata":{"labels":{"ab-build-different":null,"x":null},"annotations":{"custom-node-selector":null,"x":null}}}`,
	`{"metadata":{"labels":{"x":1}}}`, `{"metadata":{"annotations":{"x":{}}}}`, `{"metadata":{"labels":["x"]}}`,
	`{"metadata":{"annotations":{"custom-node-selector":1}}}`,
	// Escapes in names and values, also where none are needed.
	`{"\u006detadata":{"\u006eame":"web\u002d1","labels":{"ab\u002dbuild-different":"\u0074rue"}}}`,
	`{"metadata":{"name":"\"\\\/\b\f\n\r\t"}}`, `{"metadata":{"name":"\x"}}`, `{"metadata":{"name":"\u12"}}`, `{"metadata":{"name":"\u12G4"}}`,
	`{"metadata":{"name":"\ud83d\ude00 \ud83d \ude00 \ud83dx \u0000"}}`, `{"metadata":{"name":"\ud83d\ud83d\ude00"}}`,
	"{\"metadata\":{\"name\":\"caf\u00e9 \U0001F600\"}}", "{\"metadata\":{\"name\":\"\xc3\x28\xa0\xa1\xed\xa0\x80\"}}",
	"{\"metadata\":{\"name\":\"a\\\"\xff\"}}", "{\"metadata\":{\"na\xffme\":\"a\"}}",
	"{\"metadata\":{\"name\":\"a\nb\"}}", "{\"metadata\":{\"name\":\"a\x00b\"}}", "{\"metadata\":{\"name\":\"a\x7fb\"}}", "{\"metadata\":{\"name\":\"a\x1f2345678\"}}",
	// Members that differ in case only, or occur twice.
	`{"Metadata":{"name":"a"},"metadata":{"Name":"b","NAME":"c","name":"d"}}`,
	`{"metadata":{"name":"a","name":"b"}}`, `{"metadata":{"name":"a"},"metadata":{"labels":{}}}`,
	`{"metadata":{"labels":{"ab-build-different":"true","ab-build-different":"false"}}}`,
	`{"metadata":{"labels":{"x":"1","x":"2"}}}`, `{"metadata":{"labels":{"a":"b"},"labels":{"ab-build-different":"true"}}}`,
	`{"metadata":{"annotations":{"custom-node-selector":"a","custom-node-selector":"b"}}}`,
	`{"metadata":{"annotations":{"custom-node-selector":null,"custom-node-selector":"b"}}}`,
	`{"spec":{"nodeSelector":{"a":"b","a":"c"}}}`, `{"spec":{"nodeSelector":{"a":"b","\u0061":"c"}}}`,
	`{"spec":{"nodeSelector":{"a":"b"},"nodeSelector":{"c":"d"}}}`, `{"spec":{"nodeSelector":{"a":"b"}},"spec":{}}`,
	`{"spec":{"nodeSelector":{}}}`, `{"spec":{"nodeSelector":{"a":null}}}`, `{"spec":{"nodeSelector":{"a":1}}}`, `{"spec":{"nodeSelector":[]}}`,
	`{"spec":{"nodeSelector":{"":"", "a/b~c" : "d\u0065" }}}`,
	`{"spec":{"affinity":null,"tolerations": [ ] }}`, `{"spec":{"affinity":{"a":[1,2]} ,"tolerations":7}}`, `{"spec":{"affinity":{},"affinity":1}}`,
	`{"spec":{"\u0061ffinity":"x","toleration\u0073":[{"key":"k"}],"tolerations":[]}}`,
	`{"spec":{"schedulingGates":[{"name":"a"}] ,"nodeSelector":null}}`, `{"metadata":{"labels":{"sts-webhook.custom-system.svc/gate":""},"annotations":{"sts-webhook.custom-system.svc/placed":"web-1: a=b"}},"spec":{"scheduling\u0047ates":7,"schedulingGates":[]}}`,
	// Owner references.
	`{"metadata":{"ownerReferences":[]}}`, `{"metadata":{"ownerReferences":[null]}}`, `{"metadata":{"ownerReferences":[1]}}`, `{"metadata":{"ownerReferences":{}}}`,
	`{"metadata":{"ownerReferences":[{"kind":"A","controller":false},{"kind":"B","controller":true},{"kind":"C","controller":true}]}}`,
	`{"metadata":{"ownerReferences":[{"controller":true},{"kind":"C","controller":true}]}}`,
	`{"metadata":{"ownerReferences":[{"controller":null,"name":null}]}}`, `{"metadata":{"ownerReferences":[{"controller":"true"}]}}`,
	`{"metadata":{"ownerReferences":[{"controller":true,"controller":false}]}}`, `{"metadata":{"ownerReferences":[],"ownerReferences":[]}}`,
	`{"metadata":{"ownerReferences":[{"controller":true,"kind":"A","kind":"B"},]}}`,
	// Numbers and other scalars in members that nobody reads.
	`{"x":-0}`, `{"x":01}`, `{"x":-}`, `{"x":1.}`, `{"x":.5}`, `{"x":1e}`, `{"x":1e+}`, `{"x":1E-5}`, `{"x":+1}`, `{"x":1e999}`,
	`{"x":0x10}`, `{"x":NaN}`, `{"x":Infinity}`, `{"x":nul}`, `{"x":nulll}`, `{"x":True}`, `{"x":tru}`, `{"x":falsey}`,
	`{"x":123456789012345678901234567890.123456789e-10}`, `{"x":-1.5e5,"y":[0,-0.0]}`,
	// Broken structure.
	`{"x":1,}`, `{,}`, `{"x"}`, `{"x":}`, `{"x" 1}`, `{"x":1 "y":2}`, `{1:2}`, `{x:1}`, `{'x':1}`,
	`{"x":[1,]}`, `{"x":[,1]}`, `{"x":[1 2]}`, `{"x":[}`, `{"x":{]}`, `{"x":[1}`, `{"x":{"y":1]}`, `{"x":[[],{},[{}],{"y":[]}]}`,
	"{ \"x\" :\t[ 1 ,\n2 ] ,\r\"y\":{ } }", "{\"x\":\f1}", "{\"x\":\v1}", "{\"x\":\u00a01}", `{"x":1/*c*/}`, `{"x":1}//c`,
}
