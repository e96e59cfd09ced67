package mutator

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/internal/placement"
)

// Field paths of what a few rules ask for.
const (
	affinityPath     = "spec.affinity"
	nodeAffinityPath = affinityPath + ".nodeAffinity"
	preferredPath    = nodeAffinityPath + "." + preferredName
	tolerationsPath  = "spec.tolerations"

	preferredName = "preferredDuringSchedulingIgnoredDuringExecution"
)

// preferences adds the operations on the preferred node affinity terms.
func (b *patch) preferences(p *pod, assignments []placement.Assignment) error {
	if !slices.ContainsFunc(assignments, func(a placement.Assignment) bool { return a.Preferred }) {
		return nil
	}
	affinity, err := p.affinity.value(affinityPath)
	if err != nil {
		return err
	}
	nodeAffinity, err := memberOf(affinity, affinityPath, "nodeAffinity", nodeAffinityPath)
	if err != nil {
		return err
	}
	terms, err := memberOf(nodeAffinity, nodeAffinityPath, preferredName, preferredPath)
	if err != nil {
		return err
	}
	l := list{patch: b, open: "/spec/affinity/nodeAffinity/" + preferredName + `","value":`, close: "}"}
	switch {
	case affinity == nil:
		l.open, l.close = `/spec/affinity","value":{"nodeAffinity":{"`+preferredName+`":`, "}}}"
	case nodeAffinity == nil:
		l.open, l.close = `/spec/affinity/nodeAffinity","value":{"`+preferredName+`":`, "}}"
	case terms != nil:
		l.open, l.exists = "/spec/affinity/nodeAffinity/"+preferredName, true
	}
	for i := range assignments {
		a := &assignments[i]
		if !a.Preferred {
			continue
		}
		found, err := contains(terms, preferredPath, a.Term())
		if err != nil {
			return err
		}
		if !found {
			l.next()
			b.term(a)
		}
	}
	l.end()
	return nil
}

func (b *patch) term(a *placement.Assignment) {
	b.raw(`{"weight":100,"preference":{"matchExpressions":[{"key":"`)
	b.string(a.Key)
	b.raw(`","operator":"In","values":["`)
	b.string(a.Value)
	b.raw(`"]}]}}`)
}

// tolerations adds the operations on the tolerations.
func (b *patch) tolerations(p *pod, assignments []placement.Assignment) error {
	l := list{patch: b, open: `/spec/tolerations","value":`, close: "}"}
	for i := range assignments {
		a := &assignments[i]
		if !a.Tolerate {
			continue
		}
		tolerations, err := p.tolerations.value(tolerationsPath)
		if err != nil {
			return err
		}
		if tolerations != nil {
			l.open, l.exists = "/spec/tolerations", true
		}
		found, err := tolerates(tolerations, a.Toleration())
		if err != nil {
			return err
		}
		if !found {
			l.next()
			b.toleration(a)
		}
	}
	l.end()
	return nil
}

func (b *patch) toleration(a *placement.Assignment) {
	b.raw(`{"key":"`)
	b.string(a.Key)
	b.raw(`","operator":"Equal","value":"`)
	b.string(a.Value)
	b.raw(`","effect":"NoSchedule"}`)
}

// tolerates reports whether the toleration is in the array; an empty operator is Equal.
func tolerates(array []byte, toleration corev1.Toleration) (bool, error) {
	found, err := contains(array, tolerationsPath, toleration)
	if found || err != nil {
		return found, err
	}
	toleration.Operator = ""
	return contains(array, tolerationsPath, toleration)
}
