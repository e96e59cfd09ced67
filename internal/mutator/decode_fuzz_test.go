package mutator

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzDecodeReview compares the decoder with the typed decoders of the API
// server. The rules:
//   - what the typed decoder refuses in the members that matter is refused;
//   - what it accepts is accepted, with the same facts, unless a member occurs
//     twice: that may be refused;
//   - where the whole review and pod decode into the real types, these say the
//     same.
func FuzzDecodeReview(f *testing.F) {
	for _, seed := range decodeSeeds(f) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { compareDecoders(t, body) })
}

func compareDecoders(t *testing.T, body []byte) {
	t.Helper()
	want, refused, doubled := reference(body)
	r, err := decode(body)
	if err == nil {
		err = r.podErr
	}
	switch {
	case err == nil && refused:
		t.Fatalf("accepted what the typed decoder refuses: %q", body)
	case err != nil && !refused && !doubled:
		t.Fatalf("refused what the typed decoder accepts: %v: %q", err, body)
	case err != nil:
		return
	}
	got := factsOf(t, r)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(groupVersionName{}, owner{})); diff != "" {
		t.Fatalf("facts differ (-typed +ours):\n%s%q", diff, body)
	}
	full, ok := fullReference(body)
	if !ok || doubled {
		return
	}
	full.HasSpec = got.HasSpec // a Pod's spec is no pointer
	if diff := cmp.Diff(full, got, cmp.AllowUnexported(groupVersionName{}, owner{})); diff != "" {
		t.Fatalf("facts differ from corev1.Pod (-typed +ours):\n%s%q", diff, body)
	}
}
