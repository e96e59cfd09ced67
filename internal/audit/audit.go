// Package audit finds pods of StatefulSets that are not where their rules want them, or will not be after their next restart. It
// is pure: what was read of a cluster in, findings out. It decides by packages placement and plan, as the webhook does.
package audit

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/plan"
)

// Snapshot is what was read of a cluster. Its objects may be stripped of what Report does not look at: see StripPod.
type Snapshot struct {
	StatefulSets []appsv1.StatefulSet
	// Pods are the opted-in ones, and those that a StatefulSet owns which opted in after they were created. Others are passed over.
	Pods []corev1.Pod
	// Nodes are all nodes: their names, labels, taints and cordons.
	Nodes []corev1.Node
	// Current are the pod templates of status.currentRevision, for the StatefulSets whose partition holds pods back.
	Current map[types.NamespacedName]*corev1.PodTemplateSpec
}

// Kind says what was found. The values are what users' scripts compare with: some may be added, none renamed.
type Kind string

// Kinds of findings, in the order in which those of a StatefulSet are reported.
const (
	// RefusedAtRestart: the webhook will refuse the pods when they are created again.
	RefusedAtRestart Kind = "RefusedAtRestart"
	// NoMatchingNode: no node can take the pods, by its labels and taints.
	NoMatchingNode Kind = "NoMatchingNode"
	// NotPlaced: the pod's spec lacks what its own annotation says.
	NotPlaced Kind = "NotPlaced"
	// NodeMismatch: the pod's spec is right, but its node does not carry the labels.
	NodeMismatch Kind = "NodeMismatch"
	// MovesAtRestart: the StatefulSet's template places the pod otherwise than it is placed now.
	MovesAtRestart Kind = "MovesAtRestart"
)

// Kinds lists every Kind.
var Kinds = []Kind{RefusedAtRestart, NoMatchingNode, NotPlaced, NodeMismatch, MovesAtRestart}

// Finding is one thing that is not as it should be. Its JSON is what users' scripts read: fields may be added, never renamed.
type Finding struct {
	Namespace   string `json:"namespace"`
	StatefulSet string `json:"statefulSet"`
	// Ordinals are ascending and not nil; empty if the StatefulSet has no replicas.
	Ordinals []int32 `json:"ordinals"`
	// Pod is empty if the finding is about the StatefulSet's template, as are all of RefusedAtRestart and NoMatchingNode.
	Pod string `json:"pod"`
	// Node is empty if the pod has none yet.
	Node string `json:"node"`
	Kind Kind   `json:"finding"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
}

// Report is the outcome of an audit.
type Report struct {
	// Findings are ordered by namespace, StatefulSet and kind; not nil.
	Findings []Finding
	// Pods and StatefulSets count what was looked at.
	Pods, StatefulSets int
	// Unowned counts the opted-in pods that no StatefulSet controls, which are passed over.
	Unowned int
}

// OptedIn reports whether the webhook is called for objects with these labels, those of a pod or of a pod template.
func OptedIn(labels map[string]string) bool {
	return labels[placement.Label] == placement.LabelValue
}

// Owner returns the StatefulSet that controls the pod, by the same reference as the webhook; nil if none does.
func Owner(pod *corev1.Pod) *metav1.OwnerReference {
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil && placement.IsStatefulSet(owner.APIVersion, owner.Kind) {
		return owner
	}
	return nil
}

// StripPod returns the parts of a pod that Make looks at, so that many fit into memory.
func StripPod(pod *corev1.Pod) corev1.Pod {
	stripped := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, DeletionTimestamp: pod.DeletionTimestamp, OwnerReferences: pod.OwnerReferences,
		},
		Spec: corev1.PodSpec{
			NodeName: pod.Spec.NodeName, NodeSelector: pod.Spec.NodeSelector, Affinity: pod.Spec.Affinity, Tolerations: pod.Spec.Tolerations,
			SchedulingGates: pod.Spec.SchedulingGates,
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase},
	}
	if label, ok := pod.Labels[placement.Label]; ok {
		stripped.Labels = map[string]string{placement.Label: label}
	}
	if rule, ok := pod.Annotations[placement.Annotation]; ok {
		stripped.Annotations = map[string]string{placement.Annotation: rule}
	}
	return stripped
}

// Make looks for everything that is wrong.
func Make(s *Snapshot, o plan.Options) *Report {
	a := auditor{snapshot: s, options: o, report: &Report{Findings: []Finding{}}, nodes: map[string]map[string]string{}}
	for i := range s.Nodes {
		a.nodes[s.Nodes[i].Name] = s.Nodes[i].Labels
	}
	pods := a.podsByOwner()
	for i := range s.StatefulSets {
		set := &s.StatefulSets[i]
		own := pods[set.UID]
		delete(pods, set.UID)
		if !OptedIn(set.Spec.Template.Labels) && !slices.ContainsFunc(own, func(p *corev1.Pod) bool { return OptedIn(p.Labels) }) {
			continue
		}
		a.auditSet(set, own)
	}
	for _, own := range pods { // of a StatefulSet that is gone, or of another API group
		own = slices.DeleteFunc(own, func(p *corev1.Pod) bool { return !OptedIn(p.Labels) })
		if len(own) > 0 {
			a.report.StatefulSets++
			a.auditPods(own, nil)
		}
	}
	slices.SortStableFunc(a.report.Findings, compareFindings)
	return a.report
}

func compareFindings(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.StatefulSet, b.StatefulSet),
		cmp.Compare(slices.Index(Kinds, a.Kind), slices.Index(Kinds, b.Kind)), slices.Compare(a.Ordinals, b.Ordinals), cmp.Compare(a.Pod, b.Pod))
}

// auditor gathers a report.
type auditor struct {
	snapshot *Snapshot
	options  plan.Options
	report   *Report
	nodes    map[string]map[string]string // labels by name
}

// podsByOwner leaves out the pods that have ended or are about to: their StatefulSet creates them again.
func (a *auditor) podsByOwner() map[types.UID][]*corev1.Pod {
	pods := map[types.UID][]*corev1.Pod{}
	for i := range a.snapshot.Pods {
		pod := &a.snapshot.Pods[i]
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		owner := Owner(pod)
		switch {
		case owner != nil:
			pods[owner.UID] = append(pods[owner.UID], pod)
		case OptedIn(pod.Labels):
			a.report.Unowned++
		}
	}
	return pods
}
