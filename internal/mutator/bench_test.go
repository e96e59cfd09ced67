package mutator

import (
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
)

func BenchmarkDecode(b *testing.B) {
	body := goldenReview(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDecideEncode(b *testing.B) {
	body := goldenReview(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := decode(body)
		if err != nil {
			b.Fatal(err)
		}
		d := decide(&r, Settings{})
		if d.outcome != placed {
			b.Fatal(d)
		}
		if _, err := encode(&r, &d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	r, _ := decode(goldenReview(b))
	b.ReportAllocs()
	for b.Loop() {
		decide(&r, Settings{})
	}
}
func BenchmarkParseRule(b *testing.B) {
	r, _ := decode(goldenReview(b))
	b.ReportAllocs()
	for b.Loop() {
		parseRule(r.pod.annotation)
	}
}
func BenchmarkEncode(b *testing.B) {
	r, _ := decode(goldenReview(b))
	d := decide(&r, Settings{})
	b.ReportAllocs()
	for b.Loop() {
		encode(&r, &d)
	}
}

func BenchmarkTyped(b *testing.B) {
	body := goldenReview(b)
	b.ReportAllocs()
	for b.Loop() {
		var r admissionv1.AdmissionReview
		if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &r); err != nil {
			b.Fatal(err)
		}
		var p corev1.Pod
		if err := kjson.UnmarshalCaseSensitivePreserveInts(r.Request.Object.Raw, &p); err != nil {
			b.Fatal(err)
		}
	}
}
