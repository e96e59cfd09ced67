package mutator

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecodeReview compares the decoder with the typed decoders of the API
// server. The rules:
//   - what the typed decoder refuses in the members that matter is refused, if
//     the text is JSON at all;
//   - what it accepts is accepted, with the same facts, unless a member occurs
//     twice: that may be refused;
//   - where the whole review and pod decode into the real types, these say the
//     same.
func FuzzDecodeReview(f *testing.F) {
	for _, seed := range decodeSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { compareDecoders(t, body) })
}

// The fuzzer is not given large inputs: it would spend its time on making them
// smaller.
func TestDecodersAgreeOnLargeReviews(t *testing.T) {
	deep := func(depth int) string {
		inner := depth - 3 // the review, its request and object
		return reviewOf(`{"status":` + strings.Repeat(`[`, inner) + strings.Repeat(`]`, inner) + `}`)
	}
	for sentence, body := range map[string]string{
		"a real review":                   string(goldenReview(t)),
		"a review of 100 KiB":             string(largeReview(t, 100<<10)),
		"a review of 3 MiB":               string(largeReview(t, 3<<20)),
		"as deep as may be":               deep(10_000),
		"a level too deep":                deep(10_001),
		"arrays that never end":           strings.Repeat(`[`, 1<<20),
		"objects that never end":          strings.Repeat(`{"a":`, 1<<18),
		"an object that never ends":       reviewOf(`{` + strings.Repeat(`"metadata":{`, 1<<16)),
		"a string that never ends":        reviewOf(`{"metadata":{"name":"` + strings.Repeat(`a`, 1<<20)),
		"brackets that close another":     strings.Repeat(`[`, 130) + strings.Repeat(`}`, 130),
		"objects in arrays, 130 times":    reviewOf(`{"x":` + strings.Repeat(`[{"":`, 130) + `0` + strings.Repeat(`}]`, 130) + `}`),
		"objects in arrays, swapped once": reviewOf(`{"x":` + strings.Repeat(`[{"":`, 130) + `0` + strings.Repeat(`}]`, 128) + `]}}]` + `}`),
	} {
		t.Run(sentence, func(t *testing.T) { compareDecoders(t, []byte(body)) })
	}
}

func compareDecoders(t *testing.T, body []byte) {
	t.Helper()
	want, refused, doubled := reference(body)
	r, err := decode(body)
	if err == nil {
		err = r.podErr
	}
	switch {
	case err == nil && !json.Valid(body): // the API server sends no such thing; what nobody reads is not checked
		return
	case err == nil && refused:
		t.Fatalf("accepted what the typed decoder refuses: %.2000q", body)
	case err != nil && !refused && !doubled:
		t.Fatalf("refused what the typed decoder accepts: %v: %.2000q", err, body)
	case err != nil:
		return
	}
	got := factsOf(t, r)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(groupVersionName{}, owner{})); diff != "" {
		t.Fatalf("facts differ (-typed +ours):\n%s%.2000q", diff, body)
	}
	full, ok := fullReference(body)
	if !ok || doubled {
		return
	}
	full.HasSpec = got.HasSpec // a Pod's spec is no pointer
	full.Affinity, full.Tolerations, full.Gates = got.Affinity, got.Tolerations, got.Gates
	if diff := cmp.Diff(full, got, cmp.AllowUnexported(groupVersionName{}, owner{})); diff != "" {
		t.Fatalf("facts differ from corev1.Pod (-typed +ours):\n%s%.2000q", diff, body)
	}
}
