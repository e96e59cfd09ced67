package mutator

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"sts-mutating-webhook/internal/jsonscan"
	"sts-mutating-webhook/internal/placement"
)

const gatesPath = "spec.schedulingGates"

// placedPointer is the JSON pointer to placedKey. The annotations exist: ours is one of them.
var placedPointer = "/metadata/annotations/" + pointerEscaper.Replace(placedKey)

// gate adds the operations that let the scheduler have the pod: our gate is removed,
// wherever it came from, and others stay. The annotation placedKey then says what the
// pod was given, and a pod with gateLabel has it in any case: when the API server calls
// again (reinvocationPolicy: IfNeeded), when another webhook stripped the gate, when a
// template was copied from a pod. A pod with neither gate nor label gets none.
func (b *patch) gate(p *pod, assignments []placement.Assignment) error {
	if p.gates.times == 0 && !p.gateLabel.set {
		return nil
	}
	gates, err := p.gates.value(gatesPath)
	if err != nil {
		return err
	}
	ours, err := gateIndexes(gates)
	if err != nil {
		return err
	}
	if len(ours) == 0 && !p.gateLabel.set {
		return nil
	}
	if placed := placedText(p.name, assignments); p.placed.value != placed {
		b.size += 80 + len(placedPointer) + len(placed)
		b.open("add", placedPointer)
		b.raw(`","value":"`)
		b.string(placed)
		b.raw(`"}`)
	}
	for i := len(ours) - 1; i >= 0; i-- { // from the end, for what follows moves up
		b.open("remove", "/spec/schedulingGates/"+strconv.Itoa(ours[i]))
		b.raw(`"}`)
	}
	return nil
}

// placedText is the value of placedKey: "<pod>: <key>=<value> <key>=<value>", without
// the preferences. The pod's name keeps a copied template from passing for a pod that
// was placed.
func placedText(podName string, assignments []placement.Assignment) string {
	text := podName + ":"
	for i := range assignments {
		if !assignments[i].Preferred {
			text += " " + assignments[i].Key + "=" + assignments[i].Value
		}
	}
	return text
}

// gateIndexes says where our gate stands in the array; once, in a valid pod.
func gateIndexes(array []byte) (ours []int, err error) {
	if array == nil {
		return nil, nil
	}
	scan := jsonscan.New(array)
	if scan.Peek() != '[' {
		return nil, &fault{gatesPath, "not an array"}
	}
	index := 0
	err = scan.Array(func() error {
		scan.Peek()
		start := scan.Pos()
		if err := scan.Skip(); err != nil {
			return err
		}
		var gate corev1.PodSchedulingGate
		if err := kjson.UnmarshalCaseSensitivePreserveInts(scan.Since(start), &gate); err != nil {
			return err
		}
		if gate.Name == placement.Gate {
			ours = append(ours, index)
		}
		index++
		return nil
	})
	if err != nil {
		return nil, &fault{gatesPath, err.Error()}
	}
	return ours, nil
}
