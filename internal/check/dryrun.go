package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/rotator"
)

const (
	probeSet = "sts-webhook-check" // the StatefulSet of the dry runs, and the key of their rule
	probePod = probeSet + "-1"
	// probeValue is what the rule gives to the ordinal of probePod.
	probeValue = "odd"
)

// podSpec satisfies the Pod Security level "restricted".
func podSpec() corev1.PodSpec {
	user, no, yes := int64(65532), false, true
	return corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "pause", Image: "registry.k8s.io/pause",
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
		}},
	}
}

// dryPod is what a StatefulSet's controller would create.
func dryPod(namespace string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: probePod,
			Labels:      map[string]string{placement.Label: placement.LabelValue},
			Annotations: map[string]string{placement.Annotation: fmt.Sprintf(`{"key": %q, "even": "even", "odd": %q}`, probeSet, probeValue)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: probeSet, UID: "00000000-0000-0000-0000-000000000001", Controller: &yes,
			}},
		},
		Spec: podSpec(),
	}
}

// dryMistake opts in without a rule.
func dryMistake(namespace string) *appsv1.StatefulSet {
	labels := map[string]string{placement.Label: placement.LabelValue}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: probeSet},
		Spec: appsv1.StatefulSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, ServiceName: probeSet,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()},
		},
	}
}

// trust says whether the apiserver calls the webhook and believes it.
func trust(s *Snapshot) Result {
	what := fmt.Sprintf("create a pod as a dry run in namespace %s", s.Namespace)
	pod, err := s.Pod.Value, s.Pod.Err
	switch {
	case err != nil:
		return refusedPod(what, s.Namespace, err)
	case pod.Spec.NodeSelector[probeSet] == probeValue:
		return ok("a pod created as a dry run in namespace %s got its nodeSelector", s.Namespace)
	case slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == placement.Gate }):
		return problem(describePods, "a pod created as a dry run waits behind the scheduling gate: the apiserver could not call the webhook")
	}
	return problem(fmt.Sprintf("%s, or see whether the namespaceSelector of MutatingWebhookConfiguration %s leaves out %s", applyManifests, rotator.ConfigurationName, s.Namespace),
		"a pod created as a dry run in namespace %s got no nodeSelector: the apiserver did not call the webhook", s.Namespace)
}

// refusedPod says what the error of the dry run means.
func refusedPod(what, namespace string, err error) Result {
	text := err.Error()
	switch {
	case denied(err, "pods"):
		return warning("use a kubeconfig with the right to create pods, or another namespace with -n", "trust was not proven: it is forbidden to %s", what)
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err):
		return problem("look at the apiserver, and at the webhooks that it calls: kubectl get mutatingwebhookconfigurations", "the apiserver did not answer in time to the request to %s", what)
	case strings.Contains(text, fmt.Sprintf("webhook %q denied the request", entryName)),
		strings.Contains(text, fmt.Sprintf("webhook %q denied the request", gatedEntryName)):
		return problem("use the program of the same version as the webhook", "the webhook refuses a pod that is right: %s", text)
	case strings.Contains(text, fmt.Sprintf("failed calling webhook %q", entryName)):
		cause, todo := causeOf(text)
		return problem(todo, "the apiserver cannot call the webhook: %s", cause)
	}
	return warning("choose another namespace with -n, or see why pods are refused in "+namespace, "trust was not proven: cannot %s: %s", what, text)
}

// causes are the ways in which a call fails, by what the apiserver's message holds; the first that fits counts.
var causes = []struct{ text, todo string }{
	{"no endpoints available", describePods + ": no replica is ready"},
	{"connection refused", describePods + ": no replica listens"},
	{"x509", "wait a second, the caBundle is repaired; if it stays so, something else writes it: kubectl -n custom-system logs deployment/sts-webhook"},
	{"unable to load root certificates", "wait a second, the caBundle is repaired; if it stays so, something else writes it: kubectl -n custom-system logs deployment/sts-webhook"},
	{"not found", "kubectl apply -f manifests/30-service.yaml"},
	{"no service port", "kubectl apply -f manifests/30-service.yaml"},
	{"deadline exceeded", "let the control plane reach port 8443 of the pods: a firewall or a NetworkPolicy is in the way"},
	{"timeout", "let the control plane reach port 8443 of the pods: a firewall or a NetworkPolicy is in the way"},
	{"no route to host", "let the control plane reach port 8443 of the pods: a firewall or the pod network is in the way"},
	{"", "kubectl -n custom-system logs deployment/sts-webhook"},
}

// causeOf returns the last part of the apiserver's message, and what to do.
func causeOf(text string) (cause, todo string) {
	_, cause, _ = strings.Cut(text, "failed calling webhook "+fmt.Sprintf("%q: ", entryName))
	cause = strings.TrimPrefix(cause, "failed to call webhook: ")
	if _, after, found := strings.Cut(cause, `": `); found && strings.HasPrefix(cause, "Post ") {
		cause = after // the address is that of the Service
	}
	for _, c := range causes {
		if strings.Contains(cause, c.text) {
			return cause, c.todo
		}
	}
	return cause, ""
}

// denied reports whether RBAC forbids to create the resource. A quota and Pod Security answer with 403, too.
func denied(err error, resource string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), fmt.Sprintf("cannot create resource %q", resource))
}

// statefulSets says whether a mistake is refused when it is applied.
func statefulSets(s *Snapshot) Result {
	what := fmt.Sprintf("create a StatefulSet as a dry run in namespace %s", s.Namespace)
	err := s.StatefulSet.Err
	switch {
	case err == nil && apierrors.IsNotFound(s.Validating.Err):
		return warning("kubectl apply -f manifests/06-validating-webhook.yaml", "a StatefulSet with a mistake is accepted: ValidatingWebhookConfiguration %s does not exist", rotator.ValidatingConfigurationName)
	case err == nil:
		return warning("see the line of trust; then kubectl apply -f manifests/06-validating-webhook.yaml",
			"a StatefulSet with a mistake is accepted in namespace %s: the apiserver did not call the webhook, or could not", s.Namespace)
	case strings.Contains(err.Error(), fmt.Sprintf("webhook %q denied the request", setsEntryName)):
		return ok("a StatefulSet with a mistake, created as a dry run in namespace %s, was refused", s.Namespace)
	case denied(err, "statefulsets"):
		return warning("use a kubeconfig with the right to create StatefulSets, or another namespace with -n", "not checked: it is forbidden to %s", what)
	}
	return warning("choose another namespace with -n, or see why StatefulSets are refused in "+s.Namespace, "not checked: cannot %s: %v", what, err)
}
