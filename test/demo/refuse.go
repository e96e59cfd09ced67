package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refuse applies broken.yaml and shows the refusal as its user meets it.
func (d *demo) refuse(ctx context.Context) error {
	before, err := d.pods(ctx)
	if err != nil {
		return err
	}
	d.step(`kubectl apply -f test/demo/broken.yaml: the same StatefulSet, but the annotation says "evn" instead of "even"`)
	message, err := d.apply(ctx, "broken.yaml")
	if err == nil {
		return errors.New("broken.yaml was not refused")
	}
	fmt.Fprintf(d.out, "\n   %s\n\n", strings.ReplaceAll(strings.TrimSpace(message), "\n", "\n   "))
	if !strings.Contains(message, `"evn"`) {
		return errors.New("the refusal of broken.yaml does not name the mistake")
	}
	after, err := d.pods(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(uids(before), uids(after)) {
		return errors.New("broken.yaml was refused, but the pods of web are others now")
	}
	d.step("its %d pods are still the same, and run", running(after))
	return nil
}

// pods are those of web.yaml.
func (d *demo) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := d.Client.CoreV1().Pods(d.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return list.Items, nil
}

// uids tells pods from others that have the same names.
func uids(pods []corev1.Pod) (all []string) {
	for _, pod := range pods {
		all = append(all, string(pod.UID))
	}
	slices.Sort(all)
	return all
}
