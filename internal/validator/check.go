package validator

import (
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/internal/printable"
)

const annotationField = "spec.template.metadata.annotations[" + placement.Annotation + "]"

// Cluster knows what the pods of a StatefulSet will meet. It is asked while somebody waits for kubectl, so it answers from
// memory.
type Cluster interface {
	// Problems returns warnings about the rows of one StatefulSet.
	Problems(set *appsv1.StatefulSet, rows []plan.Row) []plan.Problem
}

// findings is what there is to say of a StatefulSet, without repetitions.
type findings struct{ errors, warnings []plan.Problem }

// check looks at a StatefulSet that replaces old, which is nil for a new one.
func check(set, old *appsv1.StatefulSet, s Settings) (f findings) {
	changed := old == nil || !equality.Semantic.DeepEqual(old.Spec.Template, set.Spec.Template)
	if !changed && equality.Semantic.DeepEqual(old.Spec.Replicas, set.Spec.Replicas) && equality.Semantic.DeepEqual(old.Spec.Ordinals, set.Spec.Ordinals) {
		return findings{}
	}
	set, old = relevant(set), relevant(old)
	rows := plan.Rows([]appsv1.StatefulSet{*set}, s.Options)
	seen := map[plan.Problem]bool{}
	add := func(p plan.Problem) {
		switch {
		case seen[p]:
		case p.Severity == plan.Error && changed:
			f.errors = append(f.errors, p)
		default:
			f.warnings = append(f.warnings, p)
		}
		seen[p] = true
	}
	for _, row := range rows {
		for _, p := range row.Problems {
			add(p)
		}
	}
	if len(f.errors) > 0 {
		return f
	}
	if old != nil {
		for _, p := range movesOf(set, plan.Diff([]appsv1.StatefulSet{*old}, []appsv1.StatefulSet{*set}, s.Options)) {
			add(p)
		}
	}
	if s.Cluster != nil && len(rows) > 0 {
		for _, p := range s.Cluster.Problems(set, rows) {
			add(p)
		}
	}
	return f
}

// Bounds of the work for one review: the first ordinals are looked at, fewer if the template is large.
const (
	maxOrdinals = 1000
	maxBytes    = 32 << 20
)

// relevant returns the part of a StatefulSet that matters for its pods' nodes, with as many replicas as are looked at; nil for nil.
func relevant(set *appsv1.StatefulSet) *appsv1.StatefulSet {
	if set == nil {
		return nil
	}
	s := *set
	spec := &s.Spec.Template.Spec
	s.Spec.Template.Spec = corev1.PodSpec{
		NodeName: spec.NodeName, NodeSelector: spec.NodeSelector, Tolerations: spec.Tolerations, Affinity: spec.Affinity, Volumes: spec.Volumes,
		SchedulingGates: spec.SchedulingGates,
	}
	limit := int32(maxOrdinals)
	if size := s.Spec.Template.Spec.Size(); size > 0 {
		limit = int32(max(1, min(maxOrdinals, maxBytes/size)))
	}
	if s.Spec.Replicas != nil && *s.Spec.Replicas > limit {
		s.Spec.Replicas = &limit
	}
	return &s
}

// movesOf warns of ordinals whose nodes are chosen differently from now on. Those that a partition holds back are among them: when
// it is lowered, the pod template does not change, and nobody would be warned.
func movesOf(set *appsv1.StatefulSet, moves []plan.Move) []plan.Problem {
	var moved []int32
	for _, m := range moves {
		if m.Change == plan.Moved {
			moved = append(moved, m.Ordinal)
		}
	}
	if moved == nil {
		return nil
	}
	first := int64(0)
	if set.Spec.Ordinals != nil {
		first = int64(set.Spec.Ordinals.Start)
	}
	held := ""
	if border := first + int64(plan.HeldBack(set)); int64(moved[0]) < border {
		held = fmt.Sprintf(", those below %d once the partition is lowered", border)
	}
	return []plan.Problem{{Severity: plan.Warning, Field: annotationField, Message: fmt.Sprintf(
		"ordinals %s move to other nodes when their pods are next created%s; \"sts-webhook plan --diff\" says where", plan.IndexSet(moved), held)}}
}

func (f findings) result() string {
	switch {
	case len(f.errors) > 0:
		return refused
	case len(f.warnings) > 0:
		return warned
	}
	return allowed
}

func (f findings) lines() []string {
	var lines []string
	for _, p := range append(f.errors, f.warnings...) {
		lines = append(lines, printable.Clip(p.Field+": "+p.Message, maxMessage))
	}
	return lines[:min(len(lines), maxWarnings)]
}

// Bounds of an answer. kube-apiserver shortens warnings beyond 4,096 bytes in all, and a person reads a few.
const (
	maxWarnings = 10
	maxMessage  = 1000
)

// response is the answer. kubectl prints the message of an Invalid status only if it holds no causes, so it repeats them.
func (f findings) response(r *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	answer := &admissionv1.AdmissionResponse{UID: r.UID, Allowed: len(f.errors) == 0}
	for i, p := range f.warnings {
		if i == maxWarnings-1 && len(f.warnings) > maxWarnings {
			answer.Warnings = append(answer.Warnings, fmt.Sprintf("and %d more: \"sts-webhook plan\" shows all", len(f.warnings)-i))
			break
		}
		answer.Warnings = append(answer.Warnings, printable.Clip(p.Field+": "+p.Message, maxMessage))
	}
	if answer.Allowed {
		return answer
	}
	status := &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Details: &metav1.StatusDetails{Group: appsv1.GroupName, Kind: "StatefulSet", Name: printable.Clip(r.Name, 253)},
	}
	var texts []string
	for i, p := range f.errors {
		if i == maxWarnings-1 && len(f.errors) > maxWarnings {
			texts = append(texts, fmt.Sprintf("and %d more: \"sts-webhook plan\" shows all", len(f.errors)-i))
			break
		}
		message := printable.Clip(p.Message, maxMessage)
		status.Details.Causes = append(status.Details.Causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Message: message, Field: p.Field})
		texts = append(texts, p.Field+": "+message)
	}
	status.Message = strings.Join(texts, "; ")
	answer.Result = status
	return answer
}
