package load

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sts-mutating-webhook/test/webhook"
)

const (
	selectorKey = "name"
	evenGroup   = "node1"
	oddGroup    = "node2"
	owner       = "load"
)

// podJSON is the pod that the StatefulSet controller would create for an ordinal.
func podJSON(namespace, optIn string, ordinal int) ([]byte, error) {
	name := fmt.Sprintf("%s-%d", owner, ordinal)
	yes := true
	probe := &corev1.Probe{PeriodSeconds: 10, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")},
	}}
	amounts := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")}
	pod := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels: map[string]string{
				optIn: "true", "app": owner, "statefulset.kubernetes.io/pod-name": name,
				"apps.kubernetes.io/pod-index": fmt.Sprint(ordinal), "controller-revision-hash": owner + "-5d4c9f7b68",
			},
			Annotations: map[string]string{
				webhook.Annotation: fmt.Sprintf(`{"key": %q, "even": %q, "odd": %q}`, selectorKey, evenGroup, oddGroup),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: owner,
				UID: "6f0a4a1e-8a55-4d2c-9c0a-0d1f2f3a4b5c", Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			Hostname: name, Subdomain: owner,
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example/app:1", ImagePullPolicy: corev1.PullIfNotPresent,
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				Env: []corev1.EnvVar{
					{Name: "MODE", Value: "replica"},
					{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
				},
				Resources:     corev1.ResourceRequirements{Requests: amounts, Limits: amounts},
				VolumeMounts:  []corev1.VolumeMount{{Name: "data", MountPath: "/var/lib/app"}},
				LivenessProbe: probe, ReadinessProbe: probe,
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-" + name},
			}}},
		},
	}
	body, err := json.Marshal(pod)
	if err != nil {
		return nil, fmt.Errorf("encode pod %s: %w", name, err)
	}
	return body, nil
}

// group is the node group that an ordinal belongs to.
func group(ordinal int) string { return [...]string{evenGroup, oddGroup}[ordinal%2] }
