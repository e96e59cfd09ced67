package plan

import (
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

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
)

// optedIn tells whether there is something to plan, or to warn of.
func optedIn(set *appsv1.StatefulSet) bool {
	template := &set.Spec.Template
	_, annotated := template.Annotations[placement.Annotation]
	return annotated || template.Labels[placement.Label] == placement.LabelValue
}

// Check returns the rules of a StatefulSet and what is wrong with its template. There
// are no rules if the webhook will not be asked about its pods, or if there is an
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
	case !annotated:
		return nil, []Problem{{Error, annotationField, fmt.Sprintf("it is missing, so every pod will be refused; write %s, or remove the label %s", placement.Example, placement.Label)}}
	}
	rules, err := placement.Parse([]byte(text))
	if err != nil {
		return nil, []Problem{ruleProblem(err)}
	}
	return rules, claimProblems(set, rules)
}

// ruleProblem explains an error of package placement.
func ruleProblem(err error) Problem {
	message := err.Error()
	if e, ok := errors.AsType[*placement.Error](err); ok {
		message += "; write " + e.Example
	}
	return Problem{Error, annotationField, message}
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
