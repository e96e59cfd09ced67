package plan

import (
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// Change is what becomes of an ordinal.
type Change string

const (
	Moved   Change = "moved"   // the pod's nodes are chosen differently
	Added   Change = "added"   // there was no such pod
	Removed Change = "removed" // there is no such pod any more
	Refused Change = "refused" // the pod was placed, and is no more
)

// Move is an ordinal that differs between two plans. As with Row, its JSON is what
// users' scripts read.
type Move struct {
	Namespace   string `json:"namespace"`
	StatefulSet string `json:"statefulSet"`
	Ordinal     int32  `json:"ordinal"`
	Pod         string `json:"pod"`
	Change      Change `json:"change"`
	From        *Place `json:"from"` // nil if there was none
	To          *Place `json:"to"`   // nil if there is none
}

// Place is how a pod's nodes are chosen.
type Place struct {
	NodeSelector map[string]string                `json:"nodeSelector"`
	Tolerations  []corev1.Toleration              `json:"tolerations"`
	Preferred    []corev1.PreferredSchedulingTerm `json:"preferred"`
}

// Diff says which ordinals of the StatefulSets that are opted in, before or
// after, differ: in nodeSelector or preferred node affinity. A toleration moves
// nothing by itself. A StatefulSet that is an error as a whole afterwards has no
// moves, for nothing is known of its pods; one that only one side holds is left
// out, for it is not the rules that made it.
func Diff(before, after []appsv1.StatefulSet, o Options) []Move {
	type key struct{ namespace, name string }
	old := map[key]*appsv1.StatefulSet{}
	for i := range before {
		old[key{before[i].Namespace, before[i].Name}] = &before[i]
	}
	moves := []Move{}
	for i := range after {
		was, is := old[key{after[i].Namespace, after[i].Name}], &after[i]
		if was == nil || !optedIn(was, o) && !optedIn(is, o) {
			continue
		}
		problems, pods := Set(is, o)
		if hasError(problems) {
			continue
		}
		_, oldPods := Set(was, o)
		moves = append(moves, compare(oldPods, pods)...)
	}
	return moves
}

// compare returns the moves of one StatefulSet, by ordinal.
func compare(before, after []Row) (moves []Move) {
	type pair struct{ was, is *Row }
	pairs := map[int32]pair{}
	for i := range before {
		pairs[*before[i].Ordinal] = pair{was: &before[i]}
	}
	for i := range after {
		ordinal := *after[i].Ordinal
		pairs[ordinal] = pair{pairs[ordinal].was, &after[i]}
	}
	for _, ordinal := range slices.Sorted(maps.Keys(pairs)) {
		p := pairs[ordinal]
		if change := changeOf(p.was, p.is); change != "" {
			row := p.is
			if row == nil {
				row = p.was
			}
			moves = append(moves, Move{row.Namespace, row.StatefulSet, ordinal, row.Pod, change, placeOf(p.was), placeOf(p.is)})
		}
	}
	return moves
}

// changeOf compares a pod's rows, of which one may be nil. Empty: it stays.
func changeOf(was, is *Row) Change {
	switch {
	case is == nil:
		return Removed
	case was == nil:
		return Added
	case was.Refused() && is.Refused():
		return ""
	case is.Refused():
		return Refused
	case was.Refused():
		return Added
	case equality.Semantic.DeepEqual(was.NodeSelector, is.NodeSelector) && equality.Semantic.DeepEqual(was.Preferred, is.Preferred):
		return ""
	}
	return Moved
}

func placeOf(row *Row) *Place {
	if row == nil || row.Refused() {
		return nil
	}
	return &Place{row.NodeSelector, row.Tolerations, row.Preferred}
}
