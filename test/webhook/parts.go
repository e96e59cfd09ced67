package webhook

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StartChecks brings the check of StatefulSets back after StopChecks, and returns when the apiserver refuses one with a mistake.
// After Install it is there already, and this waits for it.
func (w *Webhook) StartChecks(ctx context.Context) error {
	if _, err := w.Cluster.Kubectl(ctx, "apply", "-f", w.Path("manifests/06-validating-webhook.yaml")); err != nil {
		return fmt.Errorf("start checks: %w", err)
	}
	return w.wait(ctx, "the checks", func(ctx context.Context) (bool, error) { return apierrors.IsInvalid(w.createMistake(ctx)), nil })
}

// StopChecks takes the check of StatefulSets away, so that one with a mistake can be stored, and returns when the apiserver has
// seen that. StartChecks brings it back.
func (w *Webhook) StopChecks(ctx context.Context) error {
	if _, err := w.Cluster.Kubectl(ctx, "delete", "validatingwebhookconfiguration", ValidatingConfiguration, "--ignore-not-found"); err != nil {
		return fmt.Errorf("stop checks: %w", err)
	}
	return w.wait(ctx, "the end of the checks", func(ctx context.Context) (bool, error) { return w.createMistake(ctx) == nil, nil })
}

// gateManifests turn the gate on.
const gateManifests = "manifests/optional/gate"

// StartGate turns the gate on, and returns when the apiserver puts it on pods.
func (w *Webhook) StartGate(ctx context.Context) error {
	if _, err := w.Cluster.Kubectl(ctx, "apply", "-f", w.Path(gateManifests)); err != nil {
		return fmt.Errorf("start gate: %w", err)
	}
	return w.wait(ctx, "the gate", func(ctx context.Context) (bool, error) { return w.gates(ctx), nil })
}

// StopGate turns the gate off, and returns when the apiserver does not put it on pods any more.
func (w *Webhook) StopGate(ctx context.Context) error {
	if _, err := w.Cluster.Kubectl(ctx, "delete", "-f", w.Path(gateManifests), "--ignore-not-found"); err != nil {
		return fmt.Errorf("stop gate: %w", err)
	}
	return w.wait(ctx, "the end of the gate", func(ctx context.Context) (bool, error) { return !w.gates(ctx), nil })
}

// gates reports whether the policy of the gate sees a pod that is created in a dry run.
func (w *Webhook) gates(ctx context.Context) bool {
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "probe-0", Labels: map[string]string{Label: "true"},
			Annotations:     map[string]string{Annotation: `{"key":"name","even":"node1","odd":"node2"}`},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "probe", UID: "1", Controller: &yes}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: "pause"}}},
	}
	made, err := w.Client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err == nil && made.Labels[GateLabel] != ""
}

// createMistake makes a dry run of a StatefulSet whose pods would be refused.
func (w *Webhook) createMistake(ctx context.Context) error {
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
	return err
}
