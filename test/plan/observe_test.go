package plan

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
)

// observation is what became of the pods of a StatefulSet.
type observation struct {
	outcomes []outcome
	// blocked means that OrderedReady waits for a pod that is Pending.
	blocked bool
	// unsettled says what is still to come; empty: nothing.
	unsettled string
}

// observe looks at the pods of a StatefulSet, as the informers know them. It knows nothing of plan: every pod must be there, on a
// node or unschedulable, unless an event says that it was refused, or one before it keeps it from being created.
func (s *suite) observe(set *appsv1.StatefulSet) (o observation) {
	ordered := set.Spec.PodManagementPolicy == appsv1.OrderedReadyPodManagement
	refused := false
	for i := range *set.Spec.Replicas {
		ordinal := first(set) + i
		found := s.outcome(set, ordinal)
		pod := found.pod
		if pod == nil && found.refusal == "" {
			if refused { // the controller stops at the first failure
				continue
			}
			o.unsettled = fmt.Sprintf("no pod %d, and no event says why", ordinal)
			return o
		}
		o.outcomes = append(o.outcomes, found)
		switch {
		case pod == nil:
			refused = true
		case pod.DeletionTimestamp != nil || pod.Spec.NodeName == "" && !unschedulable(pod):
			o.unsettled = "the scheduler has not decided about " + pod.Name
		case pod.Labels[appsv1.ControllerRevisionHashLabelKey] != revision(set, i):
			o.unsettled = fmt.Sprintf("pod %s is of revision %s, want %s", pod.Name, pod.Labels[appsv1.ControllerRevisionHashLabelKey], revision(set, i))
		case ordered && pod.Spec.NodeName != "" && !kit.Ready(*pod):
			o.unsettled = pod.Name + " is not Ready"
		case ordered && pod.Spec.NodeName == "":
			o.blocked = i < *set.Spec.Replicas-1
		}
		if o.unsettled != "" || o.blocked || refused && ordered {
			return o
		}
	}
	return o
}

// revision is the one that pod i, counted from 0, must be of.
func revision(set *appsv1.StatefulSet, i int32) string {
	if u := set.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil && i < *u.Partition {
		return set.Status.CurrentRevision
	}
	return set.Status.UpdateRevision
}

func (s *suite) outcome(set *appsv1.StatefulSet, ordinal int32) outcome {
	name := fmt.Sprintf("%s-%d", set.Name, ordinal)
	o := outcome{ordinal: ordinal}
	if found, exists, _ := s.pods.GetByKey(set.Namespace + "/" + name); exists {
		o.pod = found.(*corev1.Pod)
		return o
	}
	events, err := s.events.ByIndex(byObject, string(set.UID))
	if err != nil {
		panic(err) // the index is there
	}
	for _, e := range events {
		event := e.(*corev1.Event)
		if event.Reason == "FailedCreate" && strings.Contains(event.Message, " Pod "+name+" in ") {
			o.refusal = event.Message
		}
	}
	return o
}

func unschedulable(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}

// first is the ordinal of a StatefulSet's first pod.
func first(set *appsv1.StatefulSet) int32 {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return set.Spec.Ordinals.Start
}
