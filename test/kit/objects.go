package kit

import (
	"fmt"
	"slices"
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
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "pause", Image: PodImage, ImagePullPolicy: corev1.PullIfNotPresent,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
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
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", set, ordinal),
			Labels:      map[string]string{webhook.Label: "true"},
			Annotations: map[string]string{webhook.Annotation: annotation},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "00000000-0000-0000-0000-000000000001", Controller: new(true),
			}},
		},
		Spec: PodSpec(),
	}
}

// OrphanPod is what another controller of StatefulSets would create, of a kind that this
// cluster does not have: no controller and no garbage collector touches the pod.
func OrphanPod(set string, ordinal int, annotation string) *corev1.Pod {
	pod := OwnedPod(set, ordinal, annotation)
	pod.OwnerReferences[0].APIVersion = "apps.kruise.io/v1beta1"
	return pod
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
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
