// Package plan says, before anything is applied, how the webhook will place the
// pods of StatefulSets. It is pure: StatefulSets in, rows out. It decides by
// package placement, as the webhook does, so the two cannot disagree; what a
// cluster adds (its nodes, the volumes that are bound) is for the caller to fill in.
package plan

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"sts-mutating-webhook/internal/placement"
)

// MaxPods bounds the pods of a StatefulSet that are planned. One with more gets an
// error.
const MaxPods = 100_000

// Options tell what a StatefulSet does not say. The zero value is a webhook that was
// started with its defaults, and StatefulSets that are new.
type Options struct {
	// ReplaceExisting is --existing-selector=replace.
	ReplaceExisting bool
	// Current are the pod templates of the revisions that StatefulSets of a cluster
	// are at (status.currentRevision), for those whose partition holds pods back; see
	// HeldBack.
	Current map[types.NamespacedName]*corev1.PodTemplateSpec
}

// Row is a pod of a StatefulSet as it will be created, or, without an ordinal,
// what there is to say of the StatefulSet as a whole. Its JSON is what users'
// scripts read: fields may be added, never renamed. No slice or map of it is nil
// except Nodes.
type Row struct {
	Namespace   string `json:"namespace"`
	StatefulSet string `json:"statefulSet"`
	// Ordinal is nil in a row about the StatefulSet as a whole.
	Ordinal *int32 `json:"ordinal"`
	// Pod is the pod's name, empty if Ordinal is nil.
	Pod string `json:"pod"`
	// NodeSelector, Tolerations and Preferred are what the pod's spec will hold:
	// what the template says, changed by the rules. They are empty if the pod
	// will be refused.
	NodeSelector map[string]string                `json:"nodeSelector"`
	Tolerations  []corev1.Toleration              `json:"tolerations"`
	Preferred    []corev1.PreferredSchedulingTerm `json:"preferred"`
	// Nodes are the names of the nodes that the scheduler may choose, whatever room
	// they have; nil if no cluster was asked.
	Nodes    []string  `json:"nodes"`
	Problems []Problem `json:"problems"`

	// Required and NodeName are the template's own required node affinity and
	// spec.nodeName, for whoever looks for nodes. Required may be nil, NodeName empty.
	Required *corev1.NodeSelector `json:"-"`
	NodeName string               `json:"-"`
}

// Severity says what follows from a Problem.
type Severity string

const (
	// Error: the pod is refused, or the StatefulSet cannot be planned.
	Error Severity = "error"
	// Warning: the pod is created, perhaps not as its author thinks.
	Warning Severity = "warning"
)

// Problem is a mistake, or a trap, in a StatefulSet.
type Problem struct {
	Severity Severity `json:"severity"`
	// Field is the path in the StatefulSet.
	Field string `json:"field"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
}

// Refused means that there will be no such pod.
func (r *Row) Refused() bool { return hasError(r.Problems) }

func hasError(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}

// Rows plans the opted-in StatefulSets, in their order: first what is wrong with
// one as a whole, then its pods by ordinal. StatefulSets with neither label nor
// annotation have no rows.
func Rows(sets []appsv1.StatefulSet, o Options) []Row {
	rows := []Row{}
	for i := range sets {
		if !optedIn(&sets[i], o) {
			continue
		}
		problems, pods := Set(&sets[i], o)
		if len(problems) > 0 {
			whole := newRow(&sets[i])
			whole.Problems = problems
			rows = append(rows, whole)
		}
		rows = append(rows, pods...)
	}
	return rows
}

func newRow(set *appsv1.StatefulSet) Row {
	return Row{
		Namespace: set.Namespace, StatefulSet: set.Name, NodeSelector: map[string]string{}, Tolerations: []corev1.Toleration{},
		Preferred: []corev1.PreferredSchedulingTerm{}, Problems: []Problem{},
	}
}

// Set plans one StatefulSet: what is wrong with it as a whole, and its pods by ordinal; none of those of a template with an error.
// Unlike Rows it also takes a StatefulSet that is not opted in, whose pods get what the template says.
func Set(set *appsv1.StatefulSet, o Options) (problems []Problem, pods []Row) {
	if _, _, problems = ordinals(set); hasError(problems) {
		return problems, nil
	}
	problems = append(problems, nameProblems(set)...)
	for _, part := range byRevision(set, o) {
		rules, found := part.check()
		problems = append(problems, found...)
		if hasError(found) {
			continue
		}
		for ordinal := part.first; ordinal < part.end; ordinal++ {
			pods = append(pods, planPod(part.set, rules, int32(ordinal), o))
		}
	}
	return problems, pods
}

// ordinals returns the first ordinal and the number of pods.
func ordinals(set *appsv1.StatefulSet) (start, replicas int32, problems []Problem) {
	replicas = 1
	if set.Spec.Replicas != nil {
		replicas = *set.Spec.Replicas
	}
	if set.Spec.Ordinals != nil {
		start = set.Spec.Ordinals.Start
	}
	bad := func(field, format string, args ...any) {
		problems = append(problems, Problem{Error, field, fmt.Sprintf(format, args...)})
	}
	if replicas < 0 {
		bad("spec.replicas", "%d is negative", replicas)
	}
	if start < 0 {
		bad("spec.ordinals.start", "%d is negative", start)
	}
	if replicas > MaxPods {
		bad("spec.replicas", "%d pods are too many: at most %d are planned", replicas, MaxPods)
	}
	if last := int64(start) + int64(replicas) - 1; last > placement.MaxOrdinal {
		bad("spec.ordinals.start", "the last ordinal would be %d, above %d; lower it", last, placement.MaxOrdinal)
	}
	return start, replicas, problems
}

// planPod is the pod that the StatefulSet controller creates and the webhook
// patches.
func planPod(set *appsv1.StatefulSet, rules placement.Rules, ordinal int32, o Options) Row {
	row := newRow(set)
	row.Ordinal, row.Pod = &ordinal, fmt.Sprintf("%s-%d", set.Name, ordinal)
	assignments, err := rules.Assign(nil, ordinal)
	row.Problems = append(row.Problems, refusals(row.Pod, err)...)
	if hasError(row.Problems) {
		return row
	}
	spec := set.Spec.Template.Spec.DeepCopy()
	row.Problems = append(row.Problems, overwritten(spec, assignments, o)...)
	placement.Apply(spec, assignments, o.ReplaceExisting)
	maps.Copy(row.NodeSelector, spec.NodeSelector)
	row.Tolerations = append(row.Tolerations, spec.Tolerations...)
	row.NodeName = spec.NodeName
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil {
		row.Preferred = append(row.Preferred, spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
		row.Required = spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return row
}

// refusals are the reasons for which a pod will be refused: by us for its name or for ruleErr, then by the API server for its name.
func refusals(pod string, ruleErr error) (problems []Problem) {
	invalid := func(problem string) Problem {
		return Problem{Error, nameField, fmt.Sprintf("the pod's name %q is invalid: %s", pod, problem)}
	}
	if problem := placement.NameProblem(pod); problem != "" {
		return []Problem{invalid(problem)}
	}
	if ruleErr != nil {
		problems = append(problems, ruleProblem(ruleErr))
	}
	if len(pod) > validation.LabelValueMaxLength {
		problems = append(problems, invalid(fmt.Sprintf("it has %d bytes, and the label statefulset.kubernetes.io/pod-name, which holds it, may have %d; use a shorter name",
			len(pod), validation.LabelValueMaxLength)))
	}
	return problems
}

// overwritten warns of the template's own nodeSelector entries that the pod will
// not have.
func overwritten(spec *corev1.PodSpec, assignments []placement.Assignment, o Options) (problems []Problem) {
	kept := map[string]string{}
	required := false
	for _, a := range assignments {
		if !a.Preferred {
			kept[a.Key] = a.Value
			required = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		own := spec.NodeSelector[key]
		value, ruled := kept[key]
		switch {
		case ruled && value != own:
			problems = append(problems, Problem{Warning, selectorField, fmt.Sprintf("the template's own %s=%s is overwritten with %s=%s; remove it from the template", key, own, key, value)})
		case !ruled && required && o.ReplaceExisting:
			problems = append(problems, Problem{Warning, selectorField, fmt.Sprintf("the template's own %s=%s is dropped, as --existing-selector=replace wants it", key, own)})
		}
	}
	return problems
}
