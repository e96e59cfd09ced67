package gate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// testTemplate: before Kubernetes 1.36 there is no policy; gate and label stand in the pod template. All but 10-policy.yaml is applied.
// The chapter runs on such versions, too (make test-compat).
func (s *suite) testTemplate(t *testing.T) {
	if s.hasPolicies(t) {
		kit.Must(t, s.StopGate(s.Ctx))
	}
	var files []string
	for _, file := range []string{"20-guard.yaml", "30-confinement.yaml", "40-rbac.yaml"} {
		files = append(files, "-f", s.Path("manifests/optional/gate/"+file))
	}
	s.Kubectl(t, append([]string{"apply"}, files...)...)
	s.Eventually(t, time.Minute, func() error { return s.placersWork(s.Ctx) })
	for _, name := range []string{"template", "half"} {
		s.deleteSet(t, name)
	}
	s.createSet(t, gatedTemplate("template", 4))
	s.runs(t, "template", 4)
	if n, err := s.Sum(s.Ctx, "sts_webhook_placed_late_total", nil); err != nil || n != 0 {
		t.Errorf("with replicas: %v pods were placed late, %v, want none", n, err)
	}
	kit.Must(t, s.Scale(s.Ctx, 0))
	run := s.startLoad(t) // pods without gate and label, as the control
	s.Kubectl(t, "--namespace", namespace, "delete", "pods", "--selector=set=template", "--wait=false")
	half := gatedTemplate("half", 1) // with the gate alone pods are sent as those of other templates
	delete(half.Spec.Template.Labels, webhook.GateLabel)
	s.createSet(t, half)
	s.Eventually(t, time.Minute, func() error {
		waiting := 0
		for _, pod := range s.podsOf(t, "template") {
			if len(pod.Spec.SchedulingGates) == 1 {
				waiting++
			}
		}
		if refused := s.failures(t, "half"); waiting != 4 || refused == 0 {
			return fmt.Errorf("%d of 4 pods wait behind the gate, and with the gate alone %d were refused, want some", waiting, refused)
		}
		return nil
	})
	s.Pause(2 * time.Second)
	r := run.Stop()
	if r.Count(load.Refused) != len(r.Samples) {
		t.Errorf("without a gate %d of %d were refused, want all: %v", r.Count(load.Refused), len(r.Samples), r.Causes())
	}
	if n := s.failures(t, "template"); n != 0 {
		t.Errorf("%d pods of the template with the gate were refused, want none", n)
	}
	kit.Must(t, s.Scale(s.Ctx, 2))
	s.runs(t, "template", 4)
	for _, name := range []string{"template", "half"} {
		s.deleteSet(t, name)
	}
	s.Kubectl(t, append([]string{"delete"}, files...)...)
}

// hasPolicies reports whether this Kubernetes has MutatingAdmissionPolicies.
func (s *suite) hasPolicies(t *testing.T) bool {
	t.Helper()
	list, err := s.Client.Discovery().ServerResourcesForGroupVersion("admissionregistration.k8s.io/v1")
	kit.Must(t, err)
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == "MutatingAdmissionPolicy" })
}

// gatedTemplate has gate and label in the pod template.
func gatedTemplate(name string, replicas int32) *appsv1.StatefulSet {
	set := kit.StatefulSet(name, replicas, kit.ByParity)
	set.Spec.Template.Labels[webhook.GateLabel] = "placement"
	set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: webhook.Gate}}
	return set
}
