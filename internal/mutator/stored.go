package mutator

import "sts-mutating-webhook/internal/jsonscan"

// Stored is the decision about a pod that was stored before it could be placed,
// behind our scheduling gate. Exactly one of Patch, Conflict and Denial is set, or
// none if there is nothing to do.
type Stored struct {
	// Placement is what Patch gives the pod, or Conflict would have.
	Placement Placement
	// Patch is a JSON patch that only adds to the pod, and removes our gate.
	Patch []byte
	// Conflict means that entries of the pod's own nodeSelector would have to go.
	// The API server refuses that for a pod that is stored.
	Conflict bool
	// Denial says why the webhook would have refused the pod.
	Denial *Denial
}

// StoredKeys are the labels and annotations that PlaceStored reads.
func StoredKeys() []string {
	return []string{optInLabel, podIndexLabel, revisionLabel, gateLabel, annotationKey, replacedKey, placedKey}
}

// PlaceStored decides about a stored pod of the namespace, given as JSON, just as the
// webhook decides about one that is created. Of its spec only nodeSelector, affinity,
// tolerations and schedulingGates are read. It is a pure function.
func (s Settings) PlaceStored(namespace string, object []byte) Stored {
	d := decoder{scan: jsonscan.New(object)}
	var seen bool
	if err := d.podObject(&seen); err != nil {
		d.review.podErr = err
	}
	p := &d.review.pod
	decided := decidePod(p, d.review.podErr, s)
	owner := ownerOf(p, namespace, decided.statefulSet)
	switch decided.outcome {
	case ignored, unchanged:
		return Stored{}
	case denied:
		x := decided.denial
		return Stored{Denial: &Denial{owner, clip(p.name, maxName), x.reason, x.problem, x.message}}
	}
	result := Stored{Placement: Placement{owner, p.name, decided.ordinal, p.revision.value, decided.key, decided.value}}
	if decided.conflict {
		result.Conflict = true
		return result
	}
	result.Patch = decided.patch
	return result
}
