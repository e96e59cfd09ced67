package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
)

const (
	// replicas is what web.yaml asks for.
	replicas = 6
	// waitTimeout is how long pods are waited for: some seconds are usual.
	waitTimeout  = time.Minute
	pollInterval = 50 * time.Millisecond
)

// place applies web.yaml, and shows where its pods are.
func (d *demo) place(ctx context.Context) error {
	_, err := d.Cluster.Kubectl(ctx, "delete", "--namespace", d.namespace, "--ignore-not-found", "--cascade=foreground",
		"-f", d.Path("test/demo/web.yaml")) // what an earlier run left
	if err != nil {
		return err
	}
	if _, err := d.apply(ctx, "web.yaml"); err != nil {
		return err
	}
	d.step("kubectl apply -f test/demo/web.yaml: a StatefulSet of %d pods", replicas)
	pods, err := d.waitPods(ctx)
	if err != nil {
		return err
	}
	d.step("its pods:")
	fmt.Fprintln(d.out)
	if err := table(d.out, pods); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	if err := check(pods, d.nodeOf); err != nil {
		return err
	}
	d.step("every pod is right: even ordinals on %s, odd ones on %s", d.nodeOf["node1"], d.nodeOf["node2"])
	return nil
}

// label labels the two nodes. On an existing cluster a label that somebody gave in the meantime is neither changed nor deleted.
func (d *demo) label(ctx context.Context) error {
	nodeOf, undo, err := d.LabelNodes(ctx)
	d.undo = append(d.undo, undo...)
	if err != nil {
		return err
	}
	d.nodeOf = nodeOf
	d.step("kubectl label: %s has name=node1, %s has name=node2, no other node has either", d.nodeOf["node1"], d.nodeOf["node2"])
	return nil
}

// apply applies a file of this directory, and returns what kubectl printed.
func (d *demo) apply(ctx context.Context, name string) (string, error) {
	return d.ApplyImage(ctx, "test/demo/"+name, cluster.PauseImage, d.podImage, "--namespace", d.namespace)
}

// waitPods returns the pods of web.yaml once all run, or as they are when
// waitTimeout ends: the table then shows what is missing.
func (d *demo) waitPods(ctx context.Context) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	err := wait.PollUntilContextTimeout(ctx, pollInterval, waitTimeout, true, func(ctx context.Context) (_ bool, err error) {
		pods, err = d.pods(ctx)
		return running(pods) == replicas, err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = nil
	}
	return pods, err
}

func running(pods []corev1.Pod) int {
	n := 0
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodRunning {
			n++
		}
	}
	return n
}

// table prints one line per pod.
func table(out io.Writer, pods []corev1.Pod) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "\tPOD\tORDINAL\tNODESELECTOR\tNODE\tPHASE")
	for _, pod := range pods {
		fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\t%s\n", pod.Name, ordinal(pod),
			metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: pod.Spec.NodeSelector}), pod.Spec.NodeName, pod.Status.Phase)
	}
	return w.Flush()
}

// ordinal is what the StatefulSet controller says it is, so that the demo does
// not repeat the webhook's own reading of the name.
func ordinal(pod corev1.Pod) string { return pod.Labels["apps.kubernetes.io/pod-index"] }

// check compares every pod with what web.yaml asks for.
func check(pods []corev1.Pod, nodeOf map[string]string) error {
	values := map[string]string{"0": "node1", "1": "node2", "2": "node1", "3": "node2", "4": "node1", "5": "node2"}
	var wrong []error
	if len(pods) != replicas {
		wrong = append(wrong, fmt.Errorf("%d pods instead of %d", len(pods), replicas))
	}
	for _, pod := range pods {
		value, selector := values[ordinal(pod)], pod.Spec.NodeSelector
		if len(selector) != 1 || selector["name"] != value {
			wrong = append(wrong, fmt.Errorf("%s: the nodeSelector is %v instead of name=%s", pod.Name, selector, value))
		}
		if node := nodeOf[value]; pod.Spec.NodeName != node {
			wrong = append(wrong, fmt.Errorf("%s: on node %q instead of %s", pod.Name, pod.Spec.NodeName, node))
		}
		if pod.Status.Phase != corev1.PodRunning {
			wrong = append(wrong, fmt.Errorf("%s: %s instead of Running", pod.Name, pod.Status.Phase))
		}
	}
	return errors.Join(wrong...)
}
