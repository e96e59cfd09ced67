package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/webhook"
)

const misspelt = `{"key": "name", "evn": "node1", "odd": "node2"}`

// withoutChecks removes the check of StatefulSets, so that one with a mistake is stored and its pods are refused. The function
// that it returns brings it back.
func (s *suite) withoutChecks(t *testing.T) (restore func()) {
	t.Helper()
	must(t, s.within(s.StopChecks))
	return func() {
		t.Helper()
		must(t, s.within(s.StartChecks))
	}
}

// kubectlApply applies a StatefulSet as its user does, and returns all that kubectl prints.
func (s *suite) kubectlApply(t *testing.T, namespace string, set *appsv1.StatefulSet) (string, error) {
	t.Helper()
	set.TypeMeta = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}
	text, err := json.Marshal(set)
	must(t, err)
	file := filepath.Join(t.TempDir(), "set.json")
	must(t, os.WriteFile(file, text, 0o600))
	out, err := s.Cluster.Kubectl(s.ctx, "apply", "--server-side", "--force-conflicts", "--namespace", namespace, "-f", file)
	if err != nil {
		out = err.Error()
	}
	t.Logf("%s", strings.TrimSpace(out))
	return out, err
}

// prints fails unless kubectl takes the StatefulSet, and prints these parts.
func (s *suite) prints(t *testing.T, namespace string, set *appsv1.StatefulSet, parts ...string) {
	t.Helper()
	out, err := s.kubectlApply(t, namespace, set)
	must(t, err)
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("kubectl does not print %q", part)
		}
	}
	if len(parts) == 0 && strings.Contains(out, "Warning") {
		t.Error("kubectl prints a warning, want none")
	}
}

func (s *suite) testStatefulSets(t *testing.T) {
	namespace := s.namespace(t)
	must(t, s.within(s.StartChecks))
	pods := s.apply(t, namespace, statefulSet("web", 2, byParity))
	t.Run("a mistake is refused and the running pods are untouched", func(t *testing.T) {
		out, err := s.kubectlApply(t, namespace, statefulSet("web", 2, misspelt))
		for _, part := range []string{"spec.template.metadata.annotations[custom-node-selector]", `field "evn" is unknown`, `{"key": "<node label>"`} {
			if err == nil || !strings.Contains(out, part) {
				t.Errorf("got %v, want a refusal that says %q", err, part)
			}
		}
		if strings.Count(out, "evn") != 1 {
			t.Error("the mistake is told more than once")
		}
		for _, pod := range pods {
			now, err := s.Client.CoreV1().Pods(namespace).Get(s.ctx, pod.Name, metav1.GetOptions{})
			if err != nil || now.UID != pod.UID {
				t.Errorf("%s is another pod: %v", pod.Name, err)
			}
		}
	})
	t.Run("a label without annotation is refused", func(t *testing.T) {
		set := statefulSet("bare", 1, "")
		delete(set.Spec.Template.Annotations, webhook.Annotation)
		if out, err := s.kubectlApply(t, namespace, set); err == nil || !strings.Contains(out, "is missing") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an annotation without label is warned of", func(t *testing.T) {
		set := statefulSet("unlabelled", 0, byParity)
		delete(set.Spec.Template.Labels, webhook.Label)
		s.prints(t, namespace, set, "Warning: spec.template.metadata.labels[ab-build-different]: the annotation custom-node-selector has no effect")
	})
	t.Run("a label that no node has is warned of", func(t *testing.T) {
		s.prints(t, namespace, statefulSet("nowhere", 0, byParity))
		set := statefulSet("nowhere", 3, `{"key": "name", "values": ["node1", "node9"]}`)
		set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "e2e.test/never"}}
		s.prints(t, namespace, set, "Warning: spec.template.spec.nodeSelector: ordinals 1: no node carries name=node9")
	})
	t.Run("a new rule moves ordinals", func(t *testing.T) {
		set := statefulSet("nowhere", 3, byParity)
		set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "e2e.test/never"}}
		s.prints(t, namespace, set, "Warning: spec.template.metadata.annotations[custom-node-selector]: ordinals 1 move to other nodes")
	})
	t.Run("one that is broken already can be scaled, repaired and deleted", func(t *testing.T) { s.testBrokenAlready(t, namespace) })
	t.Run("a volume that is bound elsewhere is warned of", func(t *testing.T) { s.testVolumes(t, namespace) })
	t.Run("an outage blocks no StatefulSet", func(t *testing.T) {
		must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 0) }))
		s.prints(t, namespace, statefulSet("outage", 0, misspelt))
		must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 2) }))
		s.eventually(t, func(ctx context.Context) error { // kube-proxy has seen them
			_, err := s.Client.CoreV1().Pods(namespace).Create(ctx, ownedPod("web", 7, byParity), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		})
	})
}

func (s *suite) testBrokenAlready(t *testing.T, namespace string) {
	restore := s.withoutChecks(t)
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.ctx, statefulSet("old", 1, misspelt), metav1.CreateOptions{})
	restore()
	must(t, err)
	s.kubectl(t, "scale", "statefulset", "old", "--replicas=2", "--namespace", namespace)
	s.kubectl(t, "annotate", "statefulset", "old", "a=b", "--namespace", namespace)
	s.prints(t, namespace, statefulSet("old", 2, byParity))
	s.kubectl(t, "delete", "statefulset", "old", "--namespace", namespace)
}

// testVolumes binds the claim of an odd ordinal to a volume of the node of the even ones.
func (s *suite) testVolumes(t *testing.T, namespace string) {
	s.kubectl(t, "apply", "-f", s.Path("manifests/optional/check-volumes"))
	t.Cleanup(func() {
		s.kubectl(t, "delete", "-f", s.Path("manifests/optional/check-volumes"))
	})
	must(t, s.within(func(ctx context.Context) error { return s.Configure(ctx, "--check-volumes") }))
	defer func() { must(t, s.within(func(ctx context.Context) error { return s.Configure(ctx) })) }()
	must(t, s.within(s.WaitDrained))
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-data"},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: "none",
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/tmp"}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}},
			}}}},
		},
	}
	_, err := s.Client.CoreV1().PersistentVolumes().Create(s.ctx, volume, metav1.CreateOptions{})
	must(t, err)
	defer func() {
		must(t, s.Client.CoreV1().PersistentVolumes().Delete(s.ctx, volume.Name, metav1.DeleteOptions{}))
	}()
	class := "none"
	claim := corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: volume.Spec.AccessModes, StorageClassName: &class, Resources: corev1.VolumeResourceRequirements{Requests: size},
		},
	}
	bound := claim.DeepCopy()
	bound.Name, bound.Spec.VolumeName = "data-db-1", volume.Name
	_, err = s.Client.CoreV1().PersistentVolumeClaims(namespace).Create(s.ctx, bound, metav1.CreateOptions{})
	must(t, err)
	set := statefulSet("db", 2, byParity)
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "e2e.test/never"}}
	s.eventually(t, func(context.Context) error { // the replicas read the cluster first
		out, err := s.kubectlApply(t, namespace, set)
		want := fmt.Sprintf("ordinals 1: PersistentVolumeClaim data-db-1 is bound to PersistentVolume %s, which is on node node-1", volume.Name)
		if err != nil || !strings.Contains(out, want) {
			s.kubectl(t, "delete", "statefulset", "db", "--namespace", namespace, "--ignore-not-found")
			return fmt.Errorf("%w: kubectl does not print %q", err, want)
		}
		return nil
	})
}
