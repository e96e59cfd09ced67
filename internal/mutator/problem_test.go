package mutator

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sts-mutating-webhook/internal/placement"
)

// An observer writes the cause in its own language, so it needs the parts.
func TestDenialsHaveTheirCauseInParts(t *testing.T) {
	annotated := func(text string) pod {
		p := podOf("web", "web-1")
		p.annotation = []byte(text)
		return p
	}
	other := podOf("", "web-1")
	other.controller = owner{"apps/v1", "ReplicaSet", "web", "5e7a"}
	index := podOf("web", "web-1")
	index.podIndex = member{"7", true}
	codes := map[string]bool{}
	for sentence, c := range map[string]struct {
		pod    pod
		reason string
		want   Problem
	}{
		"no object":        {annotated(`7`), ReasonAnnotationInvalid, Problem{Code: placement.CodeNotObject}},
		"an unknown field": {annotated(`{"evn":"a"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldUnknown, Field: "evn", Form: "even/odd"}},
		"a missing field":  {annotated(`{"key":"k"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldMissing, Field: "even", Form: "even/odd"}},
		"a repeated field": {annotated(`{"key":"k","key":"k"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldRepeated, Field: "key", Form: "even/odd"}},
		"another type":     {annotated(`{"key":1}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldNotString, Field: "key", Form: "even/odd"}},
		"an empty key":     {annotated(`{"key":"","even":"a","odd":"b"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldEmpty, Field: "key", Form: "even/odd"}},
		"no label value":   {annotated(`{"key":"k","even":"a b","odd":"b"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldInvalid, Field: "even", Value: "a b", Form: "even/odd"}},
		"a long field": {annotated(`{"` + strings.Repeat("x", 999) + `":1}`), ReasonAnnotationInvalid,
			Problem{Code: placement.CodeFieldUnknown, Field: strings.Repeat("x", maxProblem), Form: "even/odd"}},
		"no rule":       {annotated(`[]`), ReasonAnnotationInvalid, Problem{Code: placement.CodeNoRule}},
		"no array":      {annotated(`{"key":"k","values":1}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldWrongType, Field: "values", Form: "values"}},
		"two forms":     {annotated(`{"key":"k","even":"a","odd":"b","values":["a"]}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeFieldConflict, Field: "values", Value: "even", Form: "even/odd"}},
		"one key twice": {annotated(`[{"key":"k","values":["a"]},{"key":"k","values":["b"]}]`), ReasonAnnotationInvalid, Problem{Code: placement.CodeKeyRepeated, Field: "[1].key", Value: "k", Form: "values"}},
		"an overlap":    {annotated(`{"key":"k","ordinals":{"0-2":"a","1":"b"}}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeOverlap, Field: "ordinals[1]", Value: "ordinals[0-2]", Form: "ordinals"}},
		"too much":      {annotated(`{"key":"` + strings.Repeat("k", placement.MaxBytes) + `"}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeTooLarge, Value: "262144"}},
		"no value":      {annotated(`{"key":"k","ordinals":{"0":"a"}}`), ReasonAnnotationInvalid, Problem{Code: placement.CodeNoValue, Field: "ordinals", Value: "1", Form: "ordinals"}},
		"no JSON": {annotated(`{`), ReasonAnnotationMalformed,
			Problem{Code: CodeNotJSON, Value: "1"}},
		"a name without an ordinal": {podOf("web", "db-1"), ReasonOrdinalInvalid, Problem{Value: "db-1", Detail: `its name does not start with "web-"`}},
		"another index":             {index, ReasonPodIndexMismatch, Problem{Field: podIndexLabel, Value: "7"}},
		"another controller":        {other, ReasonNoStatefulSet, Problem{Value: "ReplicaSet"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := decide(creationOf(c.pod), Settings{})
			if d.outcome != denied || d.denial.reason != c.reason {
				t.Fatalf("got %+v, want a denial for %s", d, c.reason)
			}
			if diff := cmp.Diff(c.want, d.denial.problem); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
			codes[d.denial.problem.Code] = true
		})
	}
	delete(codes, "")
	if got, want := slices.Sorted(maps.Keys(codes)), slices.Sorted(slices.Values(Codes())); !slices.Equal(got, want) {
		t.Errorf("seen the codes %v, want all: %v", got, want)
	}
}
