package placement

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestAppliedToAPodSpec(t *testing.T) {
	const required, preferred = `[{"key":"zone","values":["a"],"tolerate":"NoSchedule"}]`, `[{"key":"zone","values":["a"],"whenUnsatisfiable":"ScheduleAnyway"}]`
	const term = `{weight: 100, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}`
	const toleration = `{key: zone, operator: Equal, value: a, effect: NoSchedule}`
	for sentence, c := range map[string]struct {
		rules, before, after string
		replace              bool
	}{
		"a required rule fills an empty spec":   {required, `{}`, `{nodeSelector: {zone: a}, tolerations: [` + toleration + `]}`, false},
		"a required rule keeps other entries":   {required, `{nodeSelector: {disk: ssd, zone: b}}`, `{nodeSelector: {disk: ssd, zone: a}, tolerations: [` + toleration + `]}`, false},
		"replace drops other entries":           {required, `{nodeSelector: {disk: ssd}}`, `{nodeSelector: {zone: a}, tolerations: [` + toleration + `]}`, true},
		"a toleration is not added again":       {required, `{tolerations: [{key: zone, value: a, effect: NoSchedule}]}`, `{nodeSelector: {zone: a}, tolerations: [{key: zone, value: a, effect: NoSchedule}]}`, false},
		"another toleration stays":              {required, `{tolerations: [{operator: Exists}]}`, `{nodeSelector: {zone: a}, tolerations: [{operator: Exists}, ` + toleration + `]}`, false},
		"a preferred rule fills an empty spec":  {preferred, `{}`, `{affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [` + term + `]}}}`, false},
		"a preferred rule keeps other affinity": {preferred, `{affinity: {podAffinity: {}}}`, `{affinity: {podAffinity: {}, nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [` + term + `]}}}`, false},
		"a preferred term is not added again": {preferred, `{affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [` + term + `]}}}`,
			`{affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [` + term + `]}}}`, false},
		"replace without an entry to replace by keeps the selector": {preferred, `{nodeSelector: {disk: ssd}}`,
			`{nodeSelector: {disk: ssd}, affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [` + term + `]}}}`, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			rules, err := Parse([]byte(c.rules))
			if err != nil {
				t.Fatal(err)
			}
			assignments, err := rules.Assign(nil, 3)
			if err != nil {
				t.Fatal(err)
			}
			spec := specOf(t, c.before)
			for range 2 { // the second time changes nothing
				Apply(&spec, assignments, c.replace)
				if diff := cmp.Diff(specOf(t, c.after), spec); diff != "" {
					t.Fatalf("specs differ (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func specOf(t *testing.T, text string) (spec corev1.PodSpec) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}
