package webhook

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	checksManifest = "manifests/06-validating-webhook.yaml"
	gateManifests  = "manifests/optional/gate"
)

// StartChecks brings the check of StatefulSets back after StopChecks, and returns when the apiserver refuses one with a mistake.
// After Install it is there already, and this waits for it.
func (w *Webhook) StartChecks(ctx context.Context) error {
	return w.turn(ctx, "the checks", w.checks, true, "apply", "-f", w.Path(checksManifest))
}

// StopChecks takes the check of StatefulSets away, so that one with a mistake can be stored, and returns when the apiserver has
// seen that. StartChecks brings it back.
func (w *Webhook) StopChecks(ctx context.Context) error {
	return w.turn(ctx, "the end of the checks", w.checks, false, "delete", "-f", w.Path(checksManifest), "--ignore-not-found")
}

// StartGate turns the gate on, and returns when the apiserver puts it on pods.
func (w *Webhook) StartGate(ctx context.Context) error {
	return w.turn(ctx, "the gate", w.gates, true, "apply", "-f", w.Path(gateManifests))
}

// StopGate turns the gate off, and returns when the apiserver does not put it on pods any more.
func (w *Webhook) StopGate(ctx context.Context) error {
	return w.turn(ctx, "the end of the gate", w.gates, false, "delete", "-f", w.Path(gateManifests), "--ignore-not-found")
}

// turn runs kubectl, and returns when the apiserver works accordingly.
func (w *Webhook) turn(ctx context.Context, what string, works func(context.Context) (bool, error), want bool, args ...string) error {
	if _, err := w.Cluster.Kubectl(ctx, args...); err != nil {
		return fmt.Errorf("bring about %s: %w", what, err)
	}
	return w.wait(ctx, what, func(ctx context.Context) bool {
		got, err := works(ctx)
		return err == nil && got == want
	})
}

// gates reports whether the policy of the gate sees a pod that is created in a dry run. One that is not created is not gated.
func (w *Webhook) gates(ctx context.Context) (bool, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "probe-0", Labels: map[string]string{Label: "true"},
			Annotations:     map[string]string{Annotation: `{"key":"name","even":"node1","odd":"node2"}`},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "probe", UID: "1", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: "pause"}}},
	}
	made, err := w.Client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err == nil && made.Labels[GateLabel] != "", nil
}

// checks reports whether a StatefulSet whose pods would be refused is refused in a dry run.
func (w *Webhook) checks(ctx context.Context) (bool, error) {
	mistake := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "mistake"},
		Spec: appsv1.StatefulSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{Label: "true"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{Label: "true"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: "pause"}}},
			},
		},
	}
	_, err := w.Client.AppsV1().StatefulSets("default").Create(ctx, mistake, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if apierrors.IsInvalid(err) {
		return true, nil
	}
	return false, err
}
