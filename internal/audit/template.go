package audit

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/internal/inventory"
	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/plan"
)

// next says how a pod of a StatefulSet will be placed when it is created again.
type next struct {
	row plan.Row
	// when says what has to happen until then.
	when string
}

// auditSet looks at a StatefulSet's templates, and at its pods.
func (a *auditor) auditSet(set *appsv1.StatefulSet, pods []*corev1.Pod) {
	old := a.snapshot.Current[types.NamespacedName{Namespace: set.Namespace, Name: set.Name}]
	a.report.StatefulSets++
	first, count := int32(0), int32(1)
	if set.Spec.Ordinals != nil {
		first = set.Spec.Ordinals.Start
	}
	if set.Spec.Replicas != nil {
		count = *set.Spec.Replicas
	}
	plans := map[int32]next{}
	when := "the rollout restarts it"
	if set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		when = "updateStrategy is OnDelete, so it stays until somebody deletes it"
	}
	if old != nil && set.Status.CurrentRevision != set.Status.UpdateRevision {
		kept := min(plan.HeldBack(set), count)
		a.auditTemplate(set, old, first, kept, "the partition keeps it on the old template until it is deleted", plans)
		first, count = first+kept, count-kept
		if count == 0 { // no pod gets the new template
			a.auditPods(pods, plans)
			return
		}
	}
	a.auditTemplate(set, &set.Spec.Template, first, count, when, plans)
	a.auditPods(pods, plans)
}

// auditTemplate looks at the pods that the StatefulSet will create from a template, and adds them to plans.
func (a *auditor) auditTemplate(set *appsv1.StatefulSet, template *corev1.PodTemplateSpec, first, count int32, when string, plans map[int32]next) {
	part := *set
	part.Spec.Template, part.Spec.Replicas, part.Spec.Ordinals = *template, &count, &appsv1.StatefulSetOrdinals{Start: first}
	problems, rows := plan.Set(&part, a.options)
	if OptedIn(template.Labels) {
		inventory.FillNodes(rows, a.snapshot.Nodes)
	}
	groups := grouped{set: set}
	for _, p := range problems {
		if p.Severity == plan.Error {
			groups.add(RefusedAtRestart, p.Field+": "+p.Message, upFrom(first, count)...)
		}
	}
	for _, row := range rows {
		plans[*row.Ordinal] = next{row, when}
		for _, p := range row.Problems {
			if p.Severity == plan.Error {
				groups.add(RefusedAtRestart, p.Field+": "+p.Message, *row.Ordinal)
			}
		}
		if row.Nodes != nil && len(row.Nodes) == 0 {
			last := row.Problems[len(row.Problems)-1] // FillNodes says why
			groups.add(NoMatchingNode, last.Message, *row.Ordinal)
		}
	}
	a.report.Findings = append(a.report.Findings, groups.findings...)
}

// upFrom returns count ordinals, at most as many as are planned.
func upFrom(first, count int32) (ordinals []int32) {
	for i := range min(max(count, 0), plan.MaxPods) {
		if first > placement.MaxOrdinal-i {
			break
		}
		ordinals = append(ordinals, first+i)
	}
	return ordinals
}

// grouped gathers what is wrong with a template, each message once with all its ordinals.
type grouped struct {
	set      *appsv1.StatefulSet
	findings []Finding
}

func (g *grouped) add(kind Kind, message string, ordinals ...int32) {
	same := func(f Finding) bool { return f.Kind == kind && f.Message == message }
	if i := slices.IndexFunc(g.findings, same); i >= 0 {
		g.findings[i].Ordinals = append(g.findings[i].Ordinals, ordinals...)
		return
	}
	g.findings = append(g.findings, Finding{
		Namespace: g.set.Namespace, StatefulSet: g.set.Name, Ordinals: append([]int32{}, ordinals...), Kind: kind, Message: message,
	})
}
