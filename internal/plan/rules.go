package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"sts-mutating-webhook/internal/placement"
)

// Paths in a StatefulSet.
const (
	metadataField   = "spec.template.metadata"
	labelField      = metadataField + ".labels[" + placement.Label + "]"
	annotationField = metadataField + ".annotations[" + placement.Annotation + "]"
	selectorField   = "spec.template.spec.nodeSelector"
	claimsField     = "spec.volumeClaimTemplates"
	volumesField    = "spec.template.spec.volumes"
	gatesField      = "spec.template.spec.schedulingGates"
	nameField       = "metadata.name"
	namespaceField  = "metadata.namespace"
)

// notSent are the namespaces whose pods the webhook is not called for, as manifests/05-webhook.yaml has them.
var notSent = []string{"kube-system", "custom-system"}

// optedIn reports whether there is something to plan, or to warn of.
func optedIn(set *appsv1.StatefulSet, o Options) bool {
	return slices.ContainsFunc(byRevision(set, o), func(p part) bool {
		template := &p.set.Spec.Template
		_, annotated := template.Annotations[placement.Annotation]
		return annotated || template.Labels[placement.Label] == placement.LabelValue
	})
}

// Check returns the rules of a StatefulSet and what is wrong with its template. There
// are no rules if the webhook will not be called for its pods, or if there is an
// error: then every pod will be refused.
func Check(set *appsv1.StatefulSet) (placement.Rules, []Problem) {
	text, annotated := set.Spec.Template.Annotations[placement.Annotation]
	label, labelled := set.Spec.Template.Labels[placement.Label]
	switch {
	case label != placement.LabelValue && !annotated:
		return nil, nil
	case !labelled:
		return nil, []Problem{{Warning, labelField, fmt.Sprintf("the annotation %s has no effect without the label; add %s: %q", placement.Annotation, placement.Label, placement.LabelValue)}}
	case label != placement.LabelValue:
		return nil, []Problem{{Warning, labelField, fmt.Sprintf("it is %q, so the annotation %s has no effect; write %q", label, placement.Annotation, placement.LabelValue)}}
	case slices.Contains(notSent, set.Namespace):
		return nil, []Problem{{Warning, namespaceField, fmt.Sprintf("the webhook is not called for pods in %s, so the annotation %s has no effect; use another namespace", set.Namespace, placement.Annotation)}}
	case !annotated:
		return nil, []Problem{{Error, annotationField, fmt.Sprintf("it is missing, so every pod will be refused; write %s, or remove the label %s", placement.Example, placement.Label)}}
	}
	rules, err := placement.Parse([]byte(text))
	if err != nil {
		return nil, []Problem{ruleProblem(err)}
	}
	return rules, append(claimProblems(set, rules), gateProblems(set)...)
}

// ruleProblem explains an error of package placement.
func ruleProblem(err error) Problem {
	message := err.Error()
	if e, ok := errors.AsType[*placement.Error](err); ok {
		message += "; write " + e.Example
	}
	return Problem{Error, annotationField, message}
}

// gateProblems warns of a template with one of the scheduling gate and its label. Without the label its pods are refused while the
// webhook cannot be called, without the gate they start on any node.
func gateProblems(set *appsv1.StatefulSet) []Problem {
	_, labelled := set.Spec.Template.Labels[placement.GateLabel]
	gated := slices.ContainsFunc(set.Spec.Template.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == placement.Gate })
	switch {
	case gated && !labelled:
		return []Problem{{Warning, gatesField, fmt.Sprintf("%s needs the label %s: placement beside it; without it pods are refused while the webhook cannot be called", placement.Gate, placement.GateLabel)}}
	case labelled && !gated:
		return []Problem{{Warning, metadataField + ".labels[" + placement.GateLabel + "]", fmt.Sprintf("it needs the scheduling gate %s beside it; without it pods start on any node while the webhook cannot be called", placement.Gate)}}
	}
	return nil
}

// claimProblems warns of a preference for a pod with a volume of its own: should
// the pod ever start elsewhere, a volume may be bound there, and the pod cannot
// leave it again.
func claimProblems(set *appsv1.StatefulSet, rules placement.Rules) []Problem {
	var keys []string
	for i := range rules {
		if rules[i].Preferred {
			keys = append(keys, rules[i].Key)
		}
	}
	field := ""
	for _, v := range set.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			field = volumesField
		}
	}
	if len(set.Spec.VolumeClaimTemplates) > 0 {
		field = claimsField
	}
	if field == "" || keys == nil {
		return nil
	}
	return []Problem{{Warning, field, fmt.Sprintf(
		"the pods mount a claim, and %s is only preferred (ScheduleAnyway): a pod that falls back to another node may bind its volume there for good; use DoNotSchedule",
		strings.Join(keys, ", "))}}
}

// maxSetName is the longest name, in bytes, that is certain to leave room for a revision in a label of the pods: a dash and up to
// ten digits follow.
const maxSetName = validation.LabelValueMaxLength - 11

// nameProblems warns of a name whose pods may be refused by the API server, depending on the revision.
func nameProblems(set *appsv1.StatefulSet) []Problem {
	if len(set.Name) <= maxSetName {
		return nil
	}
	return []Problem{{Warning, nameField, fmt.Sprintf(
		"it has %d bytes, so Kubernetes may refuse the pods, whose label controller-revision-hash adds up to 11 to it and may have %d; use a name of at most %d",
		len(set.Name), validation.LabelValueMaxLength, maxSetName)}}
}
