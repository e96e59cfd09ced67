package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// refuse applies broken.yaml and shows the refusal as its user meets it.
func (d *demo) refuse(ctx context.Context) error {
	if _, err := d.Cluster.Kubectl(ctx, "apply", "-f", d.Path("test/demo/broken.yaml")); err != nil {
		return err
	}
	d.step(`kubectl apply -f test/demo/broken.yaml: its annotation says "evn" instead of "even"`)
	event, err := d.waitRefusal(ctx)
	if err != nil {
		return err
	}
	d.step("kubectl describe statefulset broken: its event:")
	fmt.Fprintf(d.out, "\n   %s  %s  %s  %s\n\n", event.Type, event.Reason, event.Source.Component, event.Message)
	if !strings.Contains(event.Message, `"evn"`) {
		return errors.New("the refusal of broken.yaml does not name the mistake")
	}
	return nil
}

// waitRefusal returns the newest failure to create a pod of broken.yaml.
func (d *demo) waitRefusal(ctx context.Context) (*corev1.Event, error) {
	set, err := d.Client.AppsV1().StatefulSets("default").Get(ctx, "broken", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get StatefulSet broken: %w", err)
	}
	// By uid, because events outlive the object of an earlier run.
	selector := "reason=FailedCreate,involvedObject.uid=" + string(set.UID)
	var event *corev1.Event
	err = wait.PollUntilContextTimeout(ctx, pollInterval, waitTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := d.Client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: selector})
		if err != nil {
			return false, fmt.Errorf("list events: %w", err)
		}
		if n := len(list.Items); n > 0 {
			event = &list.Items[n-1]
		}
		return event != nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the refusal of broken.yaml: %w", err)
	}
	return event, nil
}
