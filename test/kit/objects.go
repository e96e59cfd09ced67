package kit

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// ByParity is the documentation's annotation. LabelNodes makes its nodes.
const ByParity = `{"key": "name", "even": "node1", "odd": "node2"}`

// SetLabel holds the StatefulSet's name in its pods.
const SetLabel = "set"

// PodImage is what PodSpec runs.
var PodImage = cluster.PauseImage

// PodSpec does nothing, ends at once, and satisfies the Pod Security level "restricted".
func PodSpec() corev1.PodSpec {
	user, no, yes := int64(65532), false, true
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "pause", Image: PodImage, ImagePullPolicy: corev1.PullIfNotPresent,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

// StatefulSet opts in with an annotation. All its pods are created at once.
func StatefulSet(name string, replicas int32, annotation string) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{SetLabel: name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{SetLabel: name, webhook.Label: "true"},
					Annotations: map[string]string{webhook.Annotation: annotation},
				},
				Spec: PodSpec(),
			},
		},
	}
}

// OwnedPod is what the StatefulSet controller would create. The owner need not exist; if
// it does not, the garbage collector deletes the pod.
func OwnedPod(set string, ordinal int, annotation string) *corev1.Pod {
	return ownedPod("apps/v1", set, ordinal, annotation)
}

// OrphanPod is what another controller of StatefulSets would create, of a kind that this
// cluster does not have: no controller and no garbage collector touches the pod.
func OrphanPod(set string, ordinal int, annotation string) *corev1.Pod {
	return ownedPod("apps.kruise.io/v1beta1", set, ordinal, annotation)
}

func ownedPod(api, set string, ordinal int, annotation string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", set, ordinal),
			Labels:      map[string]string{webhook.Label: "true"},
			Annotations: map[string]string{webhook.Annotation: annotation},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: api, Kind: "StatefulSet", Name: set, UID: "00000000-0000-0000-0000-000000000001", Controller: &yes,
			}},
		},
		Spec: PodSpec(),
	}
}

// Namespace makes a namespace in which pods can be created, or finds it. With a name that
// ends in "-" the apiserver completes it. It lasts as long as the cluster.
func (s *Suite) Namespace(t *testing.T, name string) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if name[len(name)-1] == '-' {
		object.ObjectMeta = metav1.ObjectMeta{GenerateName: name}
	}
	made, err := s.Client.CoreV1().Namespaces().Create(s.Ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = object, nil
	}
	Must(t, err)
	s.Eventually(t, time.Minute, func() error {
		_, err := s.Client.CoreV1().ServiceAccounts(made.Name).Get(s.Ctx, "default", metav1.GetOptions{})
		return err
	})
	return made.Name
}

// Ready reports whether a pod is.
func Ready(pod corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
