package release

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// testInstall does what a user of a release does: one kubectl apply, check --wait, and a StatefulSet.
func (s *suite) testInstall(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	name := image + ":" + version
	s.run(t, ".", "buildah", append(s.buildah, "manifest", "push", "--all", name, "oci-archive:"+archive+":"+name)...)
	c := s.bringUp(t)
	must(t, c.LoadImage(s.ctx, archive))
	for node, label := range map[string]string{"node-1": "name=node1", "node-2": "name=node2"} {
		s.kubectl(t, c, "label", "--overwrite", "node", node, label)
	}

	dist := filepath.Join(s.clone, "dist")
	s.kubectl(t, c, "apply", "-f", filepath.Join(dist, "install.yaml"))
	program := append(c.Enter("node-1"), filepath.Join(dist, "sts-webhook-linux-amd64"), "check", "--wait", "--kubeconfig", c.Kubeconfig())
	out, err := exec.CommandContext(s.ctx, program[0], program[1:]...).CombinedOutput()
	t.Logf("check --wait:\n%s", out)
	if want := fmt.Sprintf("replicas run %s (image %s), as does this program", version, name); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("check --wait: got %v, want no error and %q", err, want)
	}
	s.placePair(t, c)
	s.kubectl(t, c, "delete", "-f", filepath.Join(dist, "install.yaml"))
}

// placePair runs a StatefulSet of two, and waits until each pod runs on its node.
func (s *suite) placePair(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	w, err := webhook.In(c)
	must(t, err)
	replicas, labels := int32(2), map[string]string{"app": "web", webhook.Label: "true"}
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "web", PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      labels,
					Annotations: map[string]string{webhook.Annotation: `{"key": "name", "even": "node1", "odd": "node2"}`},
				},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: new(int64),
					Containers:                    []corev1.Container{{Name: "pause", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullIfNotPresent}},
				},
			},
		},
	}
	_, err = w.Client.AppsV1().StatefulSets("default").Create(s.ctx, set, metav1.CreateOptions{})
	must(t, err)
	want := map[string]string{"web-0": "node-1", "web-1": "node-2"}
	s.eventually(t, 2*time.Minute, func() error {
		for name, node := range want {
			pod, err := w.Client.CoreV1().Pods("default").Get(s.ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if pod.Spec.NodeName != node || pod.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("pod %s: got %s on %q, want Running on %s", name, pod.Status.Phase, pod.Spec.NodeName, node)
			}
		}
		return nil
	})
}

// bringUp returns a cluster of its own, which is removed at the end.
func (s *suite) bringUp(t *testing.T) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-release" // not the one that somebody looks at
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
		defer cancel()
		must(t, cluster.Down(ctx, name))
	})
	c, err := cluster.Up(s.ctx, cluster.Options{Name: name, Nodes: 2, Log: testLog{t}})
	must(t, err)
	return c
}

// kubectl runs kubectl and returns its output.
func (s *suite) kubectl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(s.ctx, args...)
	must(t, err)
	return out
}
