// Package inventory knows what a cluster has for the pods of a StatefulSet: nodes that carry the labels, and volumes that hold
// a pod to a node. It reads through a cache or an API client, whichever it is given, and is asked by commands and when a
// StatefulSet is applied, never when a pod is created.
package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/plan"
)

// Inventory reads what a cluster has.
type Inventory struct {
	// Nodes lists the metadata of nodes. Nil: nodes are not looked at.
	Nodes client.Reader
	// Volumes gets PersistentVolumeClaims and PersistentVolumes. Nil: they are not looked at.
	Volumes client.Reader
}

// NodeList is empty, of the metadata of nodes.
func NodeList() *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	return list
}

const selectorField = "spec.template.spec.nodeSelector"

// Fill sets the Nodes of the rows of one StatefulSet, which have ordinals, and adds warnings: of a pod that no node matches, and
// of one whose volume is bound to a node that does not match. What cannot be read is an error, and nothing is changed.
func (i Inventory) Fill(ctx context.Context, set *appsv1.StatefulSet, rows []plan.Row) error {
	var nodes []metav1.PartialObjectMetadata
	if i.Nodes != nil {
		list := NodeList()
		if err := i.Nodes.List(ctx, list); err != nil {
			return fmt.Errorf("list nodes: %w", err)
		}
		nodes = list.Items
	}
	var pins []pin
	if i.Volumes != nil {
		var err error
		if pins, err = i.pins(ctx, set, rows); err != nil {
			return err
		}
	}
	if i.Nodes != nil {
		fillNodes(rows, nodes)
	}
	for _, p := range pins {
		p.warn(&rows[p.row], nodes)
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

// fillNodes sets the nodes of each row. Rows with the same selector, of which there are many, share a list.
func fillNodes(rows []plan.Row, nodes []metav1.PartialObjectMetadata) {
	known := map[string][]string{}
	for i := range rows {
		row := &rows[i]
		if row.Ordinal == nil || row.Refused() {
			continue
		}
		selector := labels.Set(row.NodeSelector).String()
		names, ok := known[selector]
		if !ok {
			names = matching(row.NodeSelector, nodes)
			known[selector] = names
		}
		if row.Nodes = names; len(names) == 0 {
			row.Problems = append(row.Problems, plan.Problem{Severity: plan.Warning, Field: selectorField, Message: noNode(row.NodeSelector, nodes)})
		}
	}
}

// matching returns the names of the nodes that carry all labels of a selector, in order, not nil.
func matching(selector map[string]string, nodes []metav1.PartialObjectMetadata) []string {
	names := []string{}
	for i := range nodes {
		if labels.SelectorFromSet(selector).Matches(labels.Set(nodes[i].Labels)) {
			names = append(names, nodes[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// noNode says which label is missing, if it is one alone.
func noNode(selector map[string]string, nodes []metav1.PartialObjectMetadata) string {
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		if len(matching(map[string]string{key: selector[key]}, nodes)) == 0 {
			return fmt.Sprintf("no node carries %s=%s, so the pod will stay Pending; label a node, or correct the rule", key, selector[key])
		}
	}
	return fmt.Sprintf("no node carries all of %s, so the pod will stay Pending; label a node, or correct the rule", strings.ReplaceAll(labels.Set(selector).String(), ",", ", "))
}
