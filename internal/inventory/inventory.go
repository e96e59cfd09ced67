// Package inventory knows what a cluster has for the pods of a StatefulSet: nodes that take them, and volumes that hold
// a pod to a node. It reads through a cache or an API client, whichever it is given, and is asked by commands and when a
// StatefulSet is applied, never when a pod is created.
package inventory

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/plan"
)

// Inventory reads what a cluster has.
type Inventory struct {
	// Nodes lists nodes, of which names, labels, spec.taints and spec.unschedulable are read. Nil: nodes are not looked at.
	Nodes client.Reader
	// Volumes gets PersistentVolumeClaims and PersistentVolumes. Nil: they are not looked at.
	Volumes client.Reader
}

// Fill sets the Nodes of the rows of one StatefulSet, which have ordinals, and adds warnings: of a pod that no node can take, and
// of one whose volume is bound to a node that does not match. What cannot be read is an error, and nothing is changed.
func (i Inventory) Fill(ctx context.Context, set *appsv1.StatefulSet, rows []plan.Row) error {
	var nodes corev1.NodeList
	if i.Nodes != nil {
		if err := i.Nodes.List(ctx, &nodes); err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
	}
	var pins []pin
	if i.Volumes != nil {
		var err error
		if pins, err = i.pins(ctx, set, rows); err != nil {
			return err
		}
	}
	if i.Nodes != nil {
		FillNodes(rows, nodes.Items)
	}
	for _, p := range pins {
		p.warn(&rows[p.row], nodes.Items)
	}
	return nil
}

// Problems returns the warnings of Fill, each with the ordinals that it is about. The rows stay as they are.
func (i Inventory) Problems(ctx context.Context, set *appsv1.StatefulSet, rows []plan.Row) ([]plan.Problem, error) {
	rows = slices.Clone(rows)
	for n := range rows {
		rows[n].Problems = nil
	}
	if err := i.Fill(ctx, set, rows); err != nil {
		return nil, err
	}
	var problems []plan.Problem
	ordinals := map[plan.Problem][]int32{}
	for _, row := range rows {
		for _, p := range row.Problems {
			if ordinals[p] == nil {
				problems = append(problems, p)
			}
			ordinals[p] = append(ordinals[p], *row.Ordinal)
		}
	}
	for n, p := range problems {
		problems[n].Message = fmt.Sprintf("ordinals %s: %s", plan.IndexSet(ordinals[p]), p.Message)
	}
	return problems, nil
}
