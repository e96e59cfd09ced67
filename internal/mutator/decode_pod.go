package mutator

import "sts-mutating-webhook/internal/placement"

// The names that users write.
const (
	optInLabel    = placement.Label
	optInValue    = placement.LabelValue
	podIndexLabel = placement.PodIndexLabel
	// revisionLabel is set by the StatefulSet controller: the ControllerRevision that the pod comes from.
	revisionLabel = "controller-revision-hash"
	annotationKey = placement.Annotation
	gateLabel     = placement.GateLabel
)

// replacedKey is an annotation of ours: the name of the pod whose whole
// nodeSelector was replaced (--existing-selector=replace).
const replacedKey = "sts-webhook.custom-system.svc/replaced-selector-of"

// placedKey is an annotation of ours on a pod that had the gate: what the guard of
// manifests/optional/gate/ compares the pod with.
const placedKey = "sts-webhook.custom-system.svc/placed"

// Field paths, as the causes of a denial and the errors of the decoder spell
// them.
const (
	objectPath     = "request.object"
	namePath       = "metadata.name"
	selectorPath   = "spec.nodeSelector"
	ownersPath     = "metadata.ownerReferences"
	podIndexPath   = "metadata.labels[" + podIndexLabel + "]"
	annotationPath = "metadata.annotations[" + annotationKey + "]"
)

// pod holds the facts of a Pod that the decision rests on. The zero value is a
// pod that is not there.
type pod struct {
	// name is metadata.name: the name under which the pod will be stored.
	// The request's own name field says nothing more, and is empty whenever
	// the name is still to be generated.
	name string
	// hasSpec means that there is a spec to patch.
	hasSpec  bool
	optIn    member // label ab-build-different
	podIndex member // label apps.kubernetes.io/pod-index
	revision member // label controller-revision-hash
	// replacedFor is the annotation replacedKey.
	replacedFor member
	// annotation is the text of custom-node-selector, nil if there is none.
	annotation []byte
	// controller is the first owner reference with controller: true, as
	// metav1.GetControllerOf finds it; the zero value if there is none.
	controller owner
	selector   selector
	// affinity and tolerations are unread: few rules ask for them. Few pods have gates.
	affinity, tolerations, gates unread
	// gateLabel is the label of that name, placed the annotation placedKey.
	gateLabel, placed member
}

// owner is an owner reference.
type owner struct{ apiVersion, kind, name, uid string }

// podObject reads the request's object. What cannot be read as a Pod ends up in
// podErr, not among the faults of the review around it.
func (d *decoder) podObject(seen *bool) error {
	if *seen {
		d.fail(objectPath, "the member occurs twice")
		return d.scan.Skip()
	}
	outer := d.fault
	d.fault = nil
	var metadata, spec bool
	err := d.object(objectPath, seen, func(name []byte) error {
		switch string(name) {
		case "metadata":
			return d.metadata(&metadata)
		case "spec":
			return d.spec(&spec)
		}
		return d.scan.Skip()
	})
	if d.fault != nil {
		d.review.podErr = d.fault
	}
	d.fault = outer
	return err
}

func (d *decoder) metadata(seen *bool) error {
	var podName member
	var labels, annotations, owners bool
	p := &d.review.pod
	err := d.object("metadata", seen, func(name []byte) error {
		switch string(name) {
		case "name":
			return d.text(namePath, &podName)
		case "labels":
			return d.labels(&labels)
		case "annotations":
			return d.annotations(&annotations)
		case "ownerReferences":
			return d.owners(&owners)
		}
		return d.scan.Skip()
	})
	p.name = podName.value
	return err
}

func (d *decoder) labels(seen *bool) error {
	const path = "metadata.labels"
	return d.object(path, seen, func(name []byte) error {
		switch string(name) {
		case optInLabel:
			return d.text(path+"["+optInLabel+"]", &d.review.pod.optIn)
		case podIndexLabel:
			return d.text(podIndexPath, &d.review.pod.podIndex)
		case revisionLabel:
			return d.text(path+"["+revisionLabel+"]", &d.review.pod.revision)
		case gateLabel:
			return d.text(path+"["+gateLabel+"]", &d.review.pod.gateLabel)
		}
		return d.unreadText(path)
	})
}

func (d *decoder) annotations(seen *bool) error {
	return d.object("metadata.annotations", seen, func(name []byte) error {
		switch string(name) {
		case annotationKey:
			return d.annotation()
		case replacedKey:
			return d.text("metadata.annotations["+replacedKey+"]", &d.review.pod.replacedFor)
		case placedKey:
			return d.text("metadata.annotations["+placedKey+"]", &d.review.pod.placed)
		}
		return d.unreadText("metadata.annotations")
	})
}

func (d *decoder) annotation() error {
	if d.review.pod.annotation != nil {
		d.fail(annotationPath, "the member occurs twice")
	}
	if d.scan.Peek() != '"' {
		d.review.pod.annotation = []byte{}
		return d.unreadText(annotationPath)
	}
	text, err := d.scan.Text()
	d.review.pod.annotation = text
	return err
}

func (d *decoder) owners(seen *bool) error {
	const path = ownersPath
	if d.again(path, seen) {
		return d.scan.Skip()
	}
	switch d.scan.Peek() {
	case '[':
		found := false
		return d.scan.Array(func() error { return d.owner(path, &found) })
	case 'n':
	default:
		d.fail(path, "not an array")
	}
	return d.scan.Skip()
}

// owner reads one owner reference and keeps it if it is the controller's.
func (d *decoder) owner(path string, found *bool) error {
	var apiVersion, kind, name, uid member
	var seen, seenController, controller bool
	err := d.object(path, &seen, func(field []byte) error {
		switch string(field) {
		case "apiVersion":
			return d.text(path, &apiVersion)
		case "kind":
			return d.text(path, &kind)
		case "name":
			return d.text(path, &name)
		case "uid":
			return d.text(path, &uid)
		case "controller":
			return d.flag(path, &seenController, &controller)
		}
		return d.scan.Skip()
	})
	if controller && !*found {
		*found = true
		d.review.pod.controller = owner{apiVersion.value, kind.value, name.value, uid.value}
	}
	return err
}

func (d *decoder) spec(seen *bool) error {
	var nodeSelector bool
	d.review.pod.hasSpec = d.scan.Peek() == '{'
	return d.object("spec", seen, func(name []byte) error {
		switch string(name) {
		case "nodeSelector":
			return d.nodeSelector(&nodeSelector)
		case "affinity":
			return d.unread(&d.review.pod.affinity)
		case "tolerations":
			return d.unread(&d.review.pod.tolerations)
		case "schedulingGates":
			return d.unread(&d.review.pod.gates)
		}
		return d.scan.Skip()
	})
}

func (d *decoder) unread(into *unread) error {
	d.scan.Peek()
	start := d.scan.Pos()
	err := d.scan.Skip()
	into.text = d.scan.Since(start)
	into.times++
	return err
}

func (d *decoder) nodeSelector(seen *bool) error {
	const path = selectorPath
	object := d.scan.Peek() == '{' && !*seen
	start := d.scan.Pos()
	err := d.object(path, seen, func([]byte) error { return d.unreadText(path) })
	if object {
		d.review.pod.selector = d.scan.Since(start)
	}
	return err
}
