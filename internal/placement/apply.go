package placement

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Weight is that of the preferred node affinity terms: the highest, since the
// user named these nodes and a scheduler's other reasons are guesses beside it.
const Weight = 100

// Term is the preferred node affinity term that a Preferred assignment means.
func (a Assignment) Term() corev1.PreferredSchedulingTerm {
	return corev1.PreferredSchedulingTerm{Weight: Weight, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: a.Key, Operator: corev1.NodeSelectorOpIn, Values: []string{a.Value}}},
	}}
}

// Toleration is the one that a Tolerate assignment means.
func (a Assignment) Toleration() corev1.Toleration {
	return corev1.Toleration{Key: a.Key, Operator: corev1.TolerationOpEqual, Value: a.Value, Effect: corev1.TaintEffectNoSchedule}
}

// Apply changes the spec of a new pod as the assignments want it: an entry of
// nodeSelector or a term of preferred node affinity for each, and a toleration
// if it says so. What is there already is not added again. replaceSelector drops
// the other entries of the pod's own nodeSelector, unless no assignment brings
// one to replace them with.
//
// This is what the webhook's JSON patch does to a pod's JSON, for callers with a
// typed pod.
func Apply(spec *corev1.PodSpec, assignments []Assignment, replaceSelector bool) {
	required := slices.ContainsFunc(assignments, func(a Assignment) bool { return !a.Preferred })
	if required && (replaceSelector || spec.NodeSelector == nil) {
		spec.NodeSelector = map[string]string{}
	}
	for _, a := range assignments {
		if a.Preferred {
			prefer(spec, a.Term())
		} else {
			spec.NodeSelector[a.Key] = a.Value
		}
		if a.Tolerate {
			tolerate(spec, a.Toleration())
		}
	}
}

func prefer(spec *corev1.PodSpec, term corev1.PreferredSchedulingTerm) {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.NodeAffinity == nil {
		spec.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	terms := &spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	same := func(t corev1.PreferredSchedulingTerm) bool { return equality.Semantic.DeepEqual(t, term) }
	if !slices.ContainsFunc(*terms, same) {
		*terms = append(*terms, term)
	}
}

// tolerate adds a toleration unless the same is there; an empty operator is Equal.
func tolerate(spec *corev1.PodSpec, toleration corev1.Toleration) {
	same := func(t corev1.Toleration) bool {
		if t.Operator == "" {
			t.Operator = corev1.TolerationOpEqual
		}
		return equality.Semantic.DeepEqual(t, toleration)
	}
	if !slices.ContainsFunc(spec.Tolerations, same) {
		spec.Tolerations = append(spec.Tolerations, toleration)
	}
}
