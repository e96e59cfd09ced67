package webhook

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRolledOut(t *testing.T) {
	done := appsv1.DeploymentStatus{ObservedGeneration: 7, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	for name, test := range map[string]struct {
		change func(*appsv1.DeploymentStatus)
		want   bool
	}{
		"two new available replicas are a finished rollout":  {func(*appsv1.DeploymentStatus) {}, true},
		"a status of the previous template says nothing yet": {func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 6 }, false},
		"an old replica that still serves is not finished":   {func(s *appsv1.DeploymentStatus) { s.Replicas = 3 }, false},
		"a replica of the old template is not finished":      {func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 1 }, false},
		"a replica that is not Ready is not finished":        {func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 }, false},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 7}, Spec: appsv1.DeploymentSpec{Replicas: new(int32(2))}, Status: done}
		test.change(&d.Status)
		if got := rolledOut(d); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
