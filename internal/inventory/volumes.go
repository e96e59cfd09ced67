package inventory

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/plan"
)

// pin is a volume that the pod of a row will mount, and that only some nodes can reach.
type pin struct {
	row           int
	claim, volume string
	affinity      *nodeaffinity.NodeSelector
}

// pins looks up the claims that the StatefulSet controller gives to the pods, "<template>-<pod>".
func (i Inventory) pins(ctx context.Context, set *appsv1.StatefulSet, rows []plan.Row) (pins []pin, err error) {
	for n := range rows {
		if rows[n].Ordinal == nil || rows[n].Refused() {
			continue
		}
		for t := range set.Spec.VolumeClaimTemplates {
			p := pin{row: n, claim: set.Spec.VolumeClaimTemplates[t].Name + "-" + rows[n].Pod}
			var claim corev1.PersistentVolumeClaim
			switch err := i.Volumes.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: p.claim}, &claim); {
			case client.IgnoreNotFound(err) != nil:
				return nil, fmt.Errorf("get PersistentVolumeClaim %s/%s: %w", set.Namespace, p.claim, err)
			case err != nil, claim.Spec.VolumeName == "":
				continue // it will be bound where the pod runs
			}
			p.volume = claim.Spec.VolumeName
			var volume corev1.PersistentVolume
			switch err := i.Volumes.Get(ctx, client.ObjectKey{Name: p.volume}, &volume); {
			case client.IgnoreNotFound(err) != nil:
				return nil, fmt.Errorf("get PersistentVolume %s: %w", p.volume, err)
			case err != nil, volume.Spec.NodeAffinity == nil, volume.Spec.NodeAffinity.Required == nil:
				continue // any node can reach it
			}
			if p.affinity, err = nodeaffinity.NewNodeSelector(volume.Spec.NodeAffinity.Required); err != nil {
				continue // the scheduler cannot read it either
			}
			pins = append(pins, p)
		}
	}
	return pins, nil
}

// warn adds a problem if none of the row's nodes can reach the volume.
func (p pin) warn(row *plan.Row, nodes []corev1.Node) {
	if len(row.Nodes) == 0 {
		return // that is said already, or nothing is known of nodes
	}
	selected := map[string]bool{}
	for _, name := range row.Nodes {
		selected[name] = true
	}
	reach := "no node"
	for i := range nodes {
		node := &nodes[i]
		if !p.affinity.Match(node) {
			continue
		}
		if selected[node.Name] {
			return
		}
		reach = "node " + node.Name
	}
	if row.NodeName != "" { // it is not scheduled; the kubelet refuses to mount the volume
		row.Problems = append(row.Problems, plan.Problem{Severity: plan.Warning, Field: nodeNameField, Message: fmt.Sprintf(
			"the template names node %s, but PersistentVolumeClaim %s is bound to PersistentVolume %s, which is on %s: the pod will not start; remove nodeName, or move the data and delete the claim",
			row.NodeName, p.claim, p.volume, reach)})
		return
	}
	row.Problems = append(row.Problems, plan.Problem{Severity: plan.Warning, Field: "spec.volumeClaimTemplates", Message: fmt.Sprintf(
		"PersistentVolumeClaim %s is bound to PersistentVolume %s, which is on %s: the pod will stay Pending; correct the rule, or move the data and delete the claim",
		p.claim, p.volume, reach)})
}
