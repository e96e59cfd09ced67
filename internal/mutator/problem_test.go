package mutator

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An observer writes the cause in its own language, so it needs the parts.
func TestDenialsHaveTheirCauseInParts(t *testing.T) {
	annotated := func(text string) pod {
		p := podOf("web", "web-1")
		p.annotation = []byte(text)
		return p
	}
	other := podOf("", "web-1")
	other.controller = owner{"apps/v1", "ReplicaSet", "web"}
	index := podOf("web", "web-1")
	index.podIndex = member{"7", true}
	codes := map[string]bool{}
	for sentence, c := range map[string]struct {
		pod    pod
		reason string
		want   Problem
	}{
		"no object":        {annotated(`[]`), ReasonAnnotationInvalid, Problem{Code: CodeNotObject}},
		"an unknown field": {annotated(`{"evn":"a"}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldUnknown, Field: "evn"}},
		"a missing field":  {annotated(`{"key":"k"}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldMissing, Field: "even"}},
		"a repeated field": {annotated(`{"key":"k","key":"k"}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldRepeated, Field: "key"}},
		"another type":     {annotated(`{"key":1}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldNotString, Field: "key"}},
		"an empty key":     {annotated(`{"key":"","even":"a","odd":"b"}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldEmpty, Field: "key"}},
		"no label value":   {annotated(`{"key":"k","even":"a b","odd":"b"}`), ReasonAnnotationInvalid, Problem{Code: CodeFieldInvalid, Field: "even", Value: "a b"}},
		"a long field": {annotated(`{"` + strings.Repeat("x", 999) + `":1}`), ReasonAnnotationInvalid,
			Problem{Code: CodeFieldUnknown, Field: strings.Repeat("x", maxProblem)}},
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
