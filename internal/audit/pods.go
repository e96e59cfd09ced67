package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/internal/printable"
)

// configuration is what makes the API server ask the webhook.
const configuration = "MutatingWebhookConfiguration sts-mutating-webhook"

// auditPods looks at the pods of one StatefulSet. plans are empty if nothing is known of it.
func (a *auditor) auditPods(pods []*corev1.Pod, plans map[int32]next) {
	for _, pod := range pods {
		owner := Owner(pod).Name
		a.report.Pods++
		f := Finding{Namespace: pod.Namespace, StatefulSet: owner, Ordinals: []int32{}, Pod: pod.Name, Node: pod.Spec.NodeName}
		ordinal, err := placement.Ordinal(pod.Name, owner)
		if err == nil {
			f.Ordinals = append(f.Ordinals, ordinal)
		}
		if f.Kind, f.Message = a.auditPod(pod, ordinal, err); f.Kind != "" {
			a.report.Findings = append(a.report.Findings, f)
		}
		if n, ok := plans[ordinal]; ok && err == nil && f.Kind != NotPlaced {
			if f.Kind, f.Message = a.auditMove(pod, ordinal, n); f.Kind != "" {
				a.report.Findings = append(a.report.Findings, f)
			}
		}
	}
}

// auditPod compares a pod with its own rule, and its node with that. Empty: all is well. ordinalErr means that the pod has no
// ordinal.
func (a *auditor) auditPod(pod *corev1.Pod, ordinal int32, ordinalErr error) (Kind, string) {
	if !OptedIn(pod.Labels) {
		return "", "" // it was created before its StatefulSet opted in
	}
	if ordinalErr != nil {
		return NotPlaced, fmt.Sprintf("it has no ordinal: %v; let the StatefulSet create its pods", ordinalErr)
	}
	assignments, err := assign(pod, ordinal)
	if err != nil {
		return NotPlaced, fmt.Sprintf("its own rule is wrong: %v; correct it in the StatefulSet's pod template", err)
	}
	if slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == placement.Gate }) {
		return NotPlaced, fmt.Sprintf("it was created while the webhook could not be called, and waits behind the scheduling gate %s for a replica to place it; "+
			"if it stays so, its events say why (kubectl describe pod)", placement.Gate)
	}
	if missing := missing(&pod.Spec, assignments); len(missing) > 0 {
		return NotPlaced, fmt.Sprintf("its spec lacks %s, as if the webhook had not been called when it was created%s; "+
			"see that %s is there, then delete the pod", strings.Join(missing, ", "), a.whereItRuns(pod, assignments), configuration)
	}
	if mismatch := a.mismatch(pod.Spec.NodeName, required(assignments)); mismatch != "" {
		return NodeMismatch, fmt.Sprintf("it runs on node %s, %s; label the node, or delete the pod", pod.Spec.NodeName, mismatch)
	}
	return "", ""
}

// assign is what the pod's own annotation says.
func assign(pod *corev1.Pod, ordinal int32) ([]placement.Assignment, error) {
	text, ok := pod.Annotations[placement.Annotation]
	if !ok {
		return nil, fmt.Errorf("the annotation %s is missing", placement.Annotation)
	}
	rules, err := placement.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", placement.Annotation, err)
	}
	assignments, err := rules.Assign(nil, ordinal)
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", placement.Annotation, err)
	}
	return assignments, nil
}

// missing names what the webhook would add to the spec. It does not matter whether the webhook drops other entries of the
// nodeSelector: whoever added one may have done so after it.
func missing(spec *corev1.PodSpec, assignments []placement.Assignment) (parts []string) {
	for _, a := range assignments {
		wanted := spec.DeepCopy()
		placement.Apply(wanted, []placement.Assignment{a}, false)
		if !equality.Semantic.DeepEqual(wanted.NodeSelector, spec.NodeSelector) {
			parts = append(parts, fmt.Sprintf("nodeSelector %s=%s", a.Key, a.Value))
		}
		if !equality.Semantic.DeepEqual(wanted.Affinity, spec.Affinity) {
			parts = append(parts, fmt.Sprintf("the preference for %s=%s", a.Key, a.Value))
		}
		if !equality.Semantic.DeepEqual(wanted.Tolerations, spec.Tolerations) {
			parts = append(parts, fmt.Sprintf("the toleration %s=%s:NoSchedule", a.Key, a.Value))
		}
	}
	return parts
}

// required is the nodeSelector of the assignments.
func required(assignments []placement.Assignment) map[string]string {
	selector := map[string]string{}
	for _, a := range assignments {
		if !a.Preferred {
			selector[a.Key] = a.Value
		}
	}
	return selector
}

// mismatch says what of the selector a node does not carry; nothing if it carries all, or the pod has no node.
func (a *auditor) mismatch(node string, selector map[string]string) string {
	if node == "" {
		return ""
	}
	carried, exists := a.nodes[node]
	if !exists {
		return "which does not exist"
	}
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		value, ok := carried[key]
		switch {
		case !ok:
			return fmt.Sprintf("which does not carry %s=%s", key, selector[key])
		case value != selector[key]:
			return fmt.Sprintf("which carries %s=%s, not %s", key, value, selector[key])
		}
	}
	return ""
}

func (a *auditor) whereItRuns(pod *corev1.Pod, assignments []placement.Assignment) string {
	if pod.Spec.NodeName == "" {
		return ""
	}
	mismatch := a.mismatch(pod.Spec.NodeName, required(assignments))
	if mismatch == "" {
		mismatch = "where it should"
	}
	return fmt.Sprintf(" (it runs on node %s, %s)", pod.Spec.NodeName, mismatch)
}

// auditMove compares a pod with the one that will follow it. Only what a rule or the template asks for is compared: other entries
// of the pod's spec may come from anywhere.
func (a *auditor) auditMove(pod *corev1.Pod, ordinal int32, n next) (Kind, string) {
	if n.row.Refused() {
		return "", ""
	}
	was := plan.Place{NodeSelector: map[string]string{}}
	keys := maps.Clone(n.row.NodeSelector)
	wanted := slices.Clone(n.row.Preferred)
	if assignments, err := assign(pod, ordinal); err == nil && OptedIn(pod.Labels) {
		maps.Copy(keys, required(assignments))
		for _, a := range assignments {
			if a.Preferred {
				wanted = append(wanted, a.Term())
			}
		}
	}
	for key := range keys {
		if value, ok := pod.Spec.NodeSelector[key]; ok {
			was.NodeSelector[key] = value
		}
	}
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.NodeAffinity != nil {
		for _, term := range affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			if slices.ContainsFunc(wanted, func(w corev1.PreferredSchedulingTerm) bool { return equality.Semantic.DeepEqual(w, term) }) {
				was.Preferred = append(was.Preferred, term)
			}
		}
	}
	if maps.Equal(was.NodeSelector, n.row.NodeSelector) && equality.Semantic.DeepEqual(was.Preferred, n.row.Preferred) {
		return "", ""
	}
	is := plan.Place{NodeSelector: n.row.NodeSelector, Preferred: n.row.Preferred}
	stays := ""
	carried, ok := a.nodes[pod.Spec.NodeName]
	if ok && len(is.NodeSelector) > 0 && len(is.Preferred) == 0 && labels.SelectorFromSet(is.NodeSelector).Matches(labels.Set(carried)) {
		stays = fmt.Sprintf(", which its node %s carries as well", pod.Spec.NodeName)
	}
	return MovesAtRestart, fmt.Sprintf("it is placed by %s, and will be by %s%s when it is created again; %s; "+
		"if that is not meant, put the old rule back", printable.Text(was.String()), printable.Text(is.String()), stays, n.when)
}
