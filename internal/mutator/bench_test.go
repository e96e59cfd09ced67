package mutator

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
)

// largeReview is the golden review with one more annotation, such as a client
// leaves its last applied configuration in, so that the body has size bytes.
// Half of it are quotes, which stand escaped.
func largeReview(t testing.TB, size int) []byte {
	t.Helper()
	const anchor = `"annotations":{`
	body := goldenReview(t)
	const member = `"example.com/last-applied":"",`
	text := strings.Repeat(`{\"name\":\"value\"},`, (size-len(body))/19+1)[:size-len(body)-len(member)]
	text = strings.TrimRight(text, `\`)
	text += strings.Repeat("x", size-len(body)-len(member)-len(text))
	large := bytes.Replace(body, []byte(anchor), []byte(anchor+member[:len(member)-2]+text+`",`), 1)
	if len(large) != size {
		t.Fatalf("made a review of %d bytes, want %d", len(large), size)
	}
	return large
}

// The whole work on a request but for HTTP, metrics and log. The promise is
// below 20 us and at most 12 allocations for the 6.9 KB review, and a cost that
// grows no faster than the body.
func BenchmarkDecodeDecideEncode(b *testing.B) {
	for _, body := range [][]byte{goldenReview(b), largeReview(b, 100<<10), largeReview(b, 3<<20)} {
		b.Run(fmt.Sprintf("%dB", len(body)), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				work(b, body)
			}
		})
	}
}

func work(t testing.TB, body []byte) {
	r, err := decode(body)
	if err != nil {
		t.Fatal(err)
	}
	d := decide(&r, Settings{})
	if d.outcome != placed {
		t.Fatalf("got outcome %d", d.outcome)
	}
	encode(&r, &d)
}

func TestAllocationsPerRequest(t *testing.T) {
	withSelector := bytes.Replace(goldenReview(t), []byte(`"spec":{`), []byte(`"spec":{"nodeSelector":{"disk":"ssd"},`), 1)
	for sentence, body := range map[string][]byte{
		"a review of 6.9 KB":              goldenReview(t),
		"a review of a pod with selector": withSelector,
		"a review of 100 KiB":             largeReview(t, 100<<10),
	} {
		t.Run(sentence, func(t *testing.T) {
			got := math.Inf(1)
			for range 3 { // the count takes in what other goroutines allocate: the least is ours
				got = min(got, testing.AllocsPerRun(20, func() { work(t, body) }))
			}
			if got > maxAllocations {
				t.Errorf("got %v allocations, want at most %d", got, maxAllocations)
			}
		})
	}
}

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

// The same reading with the API server's decoder and the real types.
func BenchmarkDecodeTyped(b *testing.B) {
	body := goldenReview(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var review admissionv1.AdmissionReview
		if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review); err != nil {
			b.Fatal(err)
		}
		var pod corev1.Pod
		if err := kjson.UnmarshalCaseSensitivePreserveInts(review.Request.Object.Raw, &pod); err != nil {
			b.Fatal(err)
		}
	}
}

// The whole handler, with metrics and the access log.
func BenchmarkHandler(b *testing.B) {
	body, h, reply := goldenReview(b), newHandler(prometheus.NewRegistry()), func(int, []byte) {}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		h.Handle(body, reply)
	}
}
