package mutator

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/placement"
)

// Settings are the user's options. The zero value is the default behaviour.
type Settings struct {
	// DefaultStatefulSet (--default-statefulset) is the StatefulSet that an
	// opted-in pod without a StatefulSet owner is taken to belong to; its
	// name must then start with "<DefaultStatefulSet>-". Empty: such a pod is
	// denied.
	DefaultStatefulSet string
	// ReplaceExisting (--existing-selector=replace) makes the result the
	// pod's whole nodeSelector. False (merge): other keys stay.
	ReplaceExisting bool
}

// outcome is what became of a request.
type outcome int

const (
	ignored   outcome = iota // none of our business: allowed as it is
	unchanged                // the pod is already as the rules want it
	placed                   // allowed with a patch
	denied                   // refused, with a denial
)

// decision is everything that follows from a request.
type decision struct {
	outcome     outcome
	statefulSet string // empty until known
	ordinal     int32  // for placed and unchanged, as are key and value
	// key and value are the label and the value that the pod is placed by, joined
	// with commas if the annotation holds several rules.
	key, value string
	// forms are how the values come from the ordinal, joined as well.
	forms  string
	patch  []byte  // a JSON patch; for placed only
	denial *denial // for denied only
	// conflict means that the patch takes entries of the pod's own nodeSelector away.
	conflict bool
}

// decide applies the rules to a review. It is a pure function: same review and
// settings, same decision.
func decide(r *review, s Settings) decision {
	if !r.createsPod() {
		return decision{outcome: ignored}
	}
	return decidePod(&r.pod, r.podErr, s)
}

// decidePod applies the rules to a pod, or to what could not be read as one.
func decidePod(p *pod, podErr error, s Settings) decision {
	if podErr != nil {
		return denyMalformed("", podErr)
	}
	if p.optIn.value != optInValue {
		return decision{outcome: ignored}
	}
	if p.name == "" {
		return deny("", ReasonPodUnnamed, namePath, metav1.CauseTypeFieldValueRequired,
			"the pod has no name (generateName is not enough), so it has no ordinal; "+
				"let a StatefulSet create it, or remove the label %s", optInLabel)
	}
	if problem := placement.NameProblem(p.name); problem != "" {
		return deny("", ReasonNameInvalid, namePath, metav1.CauseTypeFieldValueInvalid, "the pod's name %s is invalid: %s", quote(p.name), problem)
	}
	return place(p, s)
}

// place decides about an opted-in pod with a name.
func place(p *pod, s Settings) decision {
	statefulSet := s.DefaultStatefulSet
	if placement.IsStatefulSet(p.controller.apiVersion, p.controller.kind) {
		statefulSet = p.controller.name
	}
	if statefulSet == "" {
		return denyOwner(p)
	}
	if problem := placement.NameProblem(statefulSet); problem != "" {
		return deny("", ReasonNameInvalid, ownersPath, metav1.CauseTypeFieldValueInvalid, "the name %s of the pod's controller is invalid: %s", quote(statefulSet), problem)
	}
	ordinal, err := placement.Ordinal(p.name, statefulSet)
	if err != nil {
		return deny(statefulSet, ReasonOrdinalInvalid, namePath, metav1.CauseTypeFieldValueInvalid,
			"pod %s has no ordinal in StatefulSet %s: %v; let the StatefulSet create its pods, or remove the label %s",
			quote(p.name), quote(statefulSet), err, optInLabel).with(Problem{Value: p.name, Detail: err.Error()})
	}
	if p.podIndex.set && p.podIndex.value != p.name[len(statefulSet)+1:] {
		return deny(statefulSet, ReasonPodIndexMismatch, podIndexPath, metav1.CauseTypeFieldValueInvalid,
			"label %s is %s, but the name of pod %s says ordinal %d; remove the label or correct it",
			podIndexLabel, quote(p.podIndex.value), quote(p.name), ordinal).with(Problem{Field: podIndexLabel, Value: p.podIndex.value})
	}
	return placeByRule(p, s, statefulSet, ordinal)
}

// denyMalformed explains that the object is no Pod that could be changed safely.
func denyMalformed(statefulSet string, err error) decision {
	field := ""
	if f, ok := errors.AsType[*fault](err); ok {
		field = f.path
	}
	return deny(statefulSet, ReasonPodMalformed, field, metav1.CauseTypeFieldValueInvalid,
		"the pod cannot be read: %v; create it with a client that sends each field once and with its type", err).with(Problem{Field: field, Detail: err.Error()})
}

// denyOwner explains that no StatefulSet controls the pod.
func denyOwner(p *pod) decision {
	controller := "it has no controller"
	if o := p.controller; o != (owner{}) {
		controller = fmt.Sprintf("its controller is %s %s of %s", quote(o.kind), quote(o.name), quote(o.apiVersion))
	}
	return deny("", ReasonNoStatefulSet, ownersPath, metav1.CauseTypeFieldValueInvalid,
		"pod %s carries the label %s=%s, but no StatefulSet controls it (%s); remove the label, "+
			"or let a StatefulSet create the pod, or start the webhook with --default-statefulset=<name>",
		quote(p.name), optInLabel, optInValue, controller).with(Problem{Value: p.controller.kind})
}

// placeByRule decides about a pod whose ordinal is known.
func placeByRule(p *pod, s Settings, statefulSet string, ordinal int32) decision {
	if p.annotation == nil {
		return deny(statefulSet, ReasonAnnotationMissing, annotationPath, metav1.CauseTypeFieldValueRequired,
			"pod %s carries the label %s=%s but no annotation %s; add %s to the StatefulSet's pod template, or remove the label",
			quote(p.name), optInLabel, optInValue, annotationKey, placement.Example)
	}
	rules, err := placement.Parse(p.annotation)
	if err != nil {
		return denyAnnotation(statefulSet, err)
	}
	var room [1]placement.Assignment // most annotations hold one rule
	assignments, err := rules.Assign(room[:0], ordinal)
	if err != nil {
		return denyAnnotation(statefulSet, err)
	}
	d := decision{outcome: placed, statefulSet: statefulSet, ordinal: ordinal}
	d.key, d.value = joined(assignments)
	d.forms = formsOf(rules)
	if d.patch, d.conflict, err = patchFor(p, s, assignments); err != nil {
		return denyMalformed(statefulSet, err)
	}
	if d.patch == nil {
		d.outcome = unchanged
	}
	return d
}

// joined returns the keys and the values, each joined with commas, which no label
// holds.
func joined(assignments []placement.Assignment) (keys, values string) {
	for i, a := range assignments {
		if i > 0 {
			keys, values = keys+",", values+","
		}
		keys, values = keys+a.Key, values+a.Value
	}
	return keys, values
}

// formsOf returns the forms of the rules, joined with commas.
func formsOf(rules placement.Rules) string {
	forms := rules[0].Form()
	for i := range rules[1:] {
		forms += "," + rules[1+i].Form()
	}
	return forms
}

// denyAnnotation explains what placement found in the annotation.
func denyAnnotation(statefulSet string, err error) decision {
	reason, example, problem := ReasonAnnotationInvalid, placement.Example, Problem{}
	if e, ok := errors.AsType[*placement.Error](err); ok {
		example, problem = e.Example, Problem{Code: e.Code, Field: e.Field, Value: e.Value, Form: e.Form}
		if e.NotJSON {
			reason, problem.Code = ReasonAnnotationMalformed, CodeNotJSON
		}
	}
	return deny(statefulSet, reason, annotationPath, metav1.CauseTypeFieldValueInvalid,
		"annotation %s: %v; write %s in the StatefulSet's pod template", annotationKey, err, example).with(problem)
}

// deny builds a denial from the message's format and its arguments, of which
// the untrusted ones must be quoted.
func deny(statefulSet, reason, field string, cause metav1.CauseType, format string, args ...any) decision {
	return decision{
		outcome:     denied,
		statefulSet: statefulSet,
		denial:      &denial{reason: reason, field: field, cause: cause, message: fmt.Sprintf(format, args...)},
	}
}

// with adds the parts of a denial's cause, each cut to its bound.
func (d decision) with(p Problem) decision {
	p.Field, p.Value, p.Detail = clip(p.Field, maxProblem), clip(p.Value, maxProblem), clip(p.Detail, maxProblem)
	d.denial.problem = p
	return d
}
