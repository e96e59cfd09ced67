package plan

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/internal/placement"
)

// HeldBack returns how many pods, the first ones, the partition of a rolling update holds back: while the StatefulSet is at another
// revision, they are created from that one's template.
func HeldBack(set *appsv1.StatefulSet) int32 {
	strategy := set.Spec.UpdateStrategy
	if strategy.Type == appsv1.OnDeleteStatefulSetStrategyType || strategy.RollingUpdate == nil || strategy.RollingUpdate.Partition == nil {
		return 0
	}
	return max(0, *strategy.RollingUpdate.Partition)
}

// part is the pods of a StatefulSet that are created from one template.
type part struct {
	// set has that template.
	set *appsv1.StatefulSet
	// first and end are ordinals; end is none of the part, which may be empty.
	first, end int64
	// which tells the ordinals to a reader; empty if these are all.
	which string
}

// byRevision returns the parts of a StatefulSet: one, or two if its partition holds pods back at a revision that is known.
func byRevision(set *appsv1.StatefulSet, o Options) []part {
	start, replicas, _ := ordinals(set)
	first, end := int64(start), int64(start)+int64(max(0, replicas))
	current := o.Current[types.NamespacedName{Namespace: set.Namespace, Name: set.Name}]
	if current == nil || HeldBack(set) == 0 {
		return []part{{set, first, end, ""}}
	}
	old := *set
	old.Spec.Template = *current
	border := first + int64(HeldBack(set))
	return []part{
		{&old, first, min(border, end), fmt.Sprintf("ordinals below %d", border)},
		{set, min(border, end), end, fmt.Sprintf("ordinals from %d", border)},
	}
}

// check returns the rules of the part, and what is wrong with its template.
func (p part) check() (placement.Rules, []Problem) {
	rules, problems := Check(p.set)
	for i := range problems {
		if p.which != "" {
			problems[i].Message = p.which + ": " + problems[i].Message
		}
	}
	return rules, problems
}
