package mutator

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/placement"
)

// The webhook patches JSON, everybody else (plan) applies the same decision to
// typed pods. If they differed, plan would be wrong.
func TestPatchDoesWhatApplyDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 4))
	for range 2000 {
		p, rules := randomPod(random), randomRules(random)
		p.Annotations[placement.Annotation] = rules
		s := Settings{ReplaceExisting: random.IntN(2) == 0}
		before, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		d := admit(t, string(before), s)
		if d.outcome == denied {
			t.Fatalf("denied: %s", d.denial.message)
		}
		after := p
		if d.patch != nil {
			onlyAddsAndReplaces(t, d.patch)
			after = corev1.Pod{}
			if err := json.Unmarshal([]byte(apply(t, string(before), d.patch)), &after); err != nil {
				t.Fatal(err)
			}
		}
		parsed, err := placement.Parse([]byte(rules))
		if err != nil {
			t.Fatal(err)
		}
		assignments, err := parsed.Assign(nil, d.ordinal)
		if err != nil {
			t.Fatal(err)
		}
		placement.Apply(&p.Spec, assignments, s.ReplaceExisting)
		if diff := cmp.Diff(p.Spec, after.Spec, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("specs differ (-applied +patched):\n%s\nrules %s\npatch %s\npod %s", diff, rules, d.patch, before)
		}
	}
}

// pick returns one of the choices.
func pick[T any](random *rand.Rand, choices ...T) T { return choices[random.IntN(len(choices))] }

func randomRules(random *rand.Rand) string {
	var rules []string
	for _, key := range []string{"zone", "example.com/disk", "kubernetes.io/hostname"} {
		if random.IntN(2) == 0 {
			continue
		}
		rules = append(rules, fmt.Sprintf(`{"key":%q,%s%s%s}`, key,
			pick(random, `"even":"a","odd":"b"`, `"values":["a","b","c"]`, `"ordinals":{"0":"a","1-2,5":"b"},"default":"c"`, `"value":"b$(ordinal)","start":1`),
			pick(random, ``, `,"whenUnsatisfiable":"ScheduleAnyway"`), pick(random, ``, `,"tolerate":"NoSchedule"`)))
	}
	if len(rules) == 0 {
		return `{"key":"zone","even":"a","odd":"b"}`
	}
	return "[" + strings.Join(rules, ",") + "]"
}

// randomPod is a pod of web whose spec may hold any part of what rules add.
func randomPod(random *rand.Rand) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("web-%d", random.IntN(8)), Labels: map[string]string{placement.Label: placement.LabelValue}, Annotations: map[string]string{},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: new(true)}},
	}}
	some := func() placement.Assignment {
		return placement.Assignment{Key: pick(random, "zone", "example.com/disk", "other"), Value: pick(random, "a", "b", "c")}
	}
	if random.IntN(2) == 0 {
		p.Spec.NodeSelector = map[string]string{}
	}
	for range random.IntN(3) {
		if p.Spec.NodeSelector != nil {
			p.Spec.NodeSelector[some().Key] = some().Value
		}
	}
	if random.IntN(2) == 0 {
		p.Spec.Affinity = &corev1.Affinity{}
	}
	if p.Spec.Affinity != nil && random.IntN(2) == 0 {
		p.Spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
		for range random.IntN(4) {
			term := some().Term()
			term.Weight = pick[int32](random, placement.Weight, 1)
			terms := &p.Spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
			*terms = append(*terms, term)
		}
	}
	for range random.IntN(4) {
		toleration := some().Toleration()
		toleration.Operator = pick(random, corev1.TolerationOpEqual, "", corev1.TolerationOpExists)
		toleration.Effect = pick(random, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
		p.Spec.Tolerations = append(p.Spec.Tolerations, toleration)
	}
	return p
}
