package release

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// testInstall does what a user of a release does: one kubectl apply, check --wait, and a StatefulSet.
func (s *suite) testInstall(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	name := image + ":" + version
	s.run(t, ".", "buildah", append(s.buildah, "manifest", "push", "--all", name, "oci-archive:"+archive+":"+name)...)
	kit.Must(t, s.Cluster.LoadImage(s.Ctx, archive))
	s.LabelNodes(t)

	dist := filepath.Join(s.clone, "dist")
	s.Kubectl(t, "apply", "-f", filepath.Join(dist, "install.yaml"))
	program := append(s.Cluster.Enter("node-1"), filepath.Join(dist, "sts-webhook-linux-amd64"), "check", "--wait", "--kubeconfig", s.Cluster.Kubeconfig())
	out, err := exec.CommandContext(s.Ctx, program[0], program[1:]...).CombinedOutput()
	t.Logf("check --wait:\n%s", out)
	if want := fmt.Sprintf("replicas run %s (image %s), as does this program", version, name); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("check --wait: got %v, want no error and %q", err, want)
	}
	s.placePair(t)
	s.applyOptional(t, dist)
	s.Kubectl(t, "delete", "-f", filepath.Join(dist, "install.yaml"))
}

// applyOptional applies what is optional in a release, and deletes it again. Objects of the Prometheus operator cannot be: the
// cluster has no such kinds, which is the only reason that may be given.
func (s *suite) applyOptional(t *testing.T, dist string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dist, "optional-*.yaml"))
	kit.Must(t, err)
	applied := 0
	for _, file := range files {
		out, err := s.Cluster.Kubectl(s.Ctx, "apply", "-f", file)
		switch {
		case err == nil:
			applied++
			s.Kubectl(t, "delete", "-f", file)
		case !strings.Contains(err.Error()+out, "monitoring.coreos.com/v1"):
			t.Errorf("kubectl apply -f %s: %v: %s", filepath.Base(file), err, out)
		}
	}
	if want := []string{"check-volumes", "flow-schema", "gate", "network-policy"}; applied != len(want) || len(files) != len(want)+2 {
		t.Errorf("got %d files, of which %d could be applied; want %v and two of the Prometheus operator", len(files), applied, want)
	}
}

// placePair runs a StatefulSet of two, and waits until each pod runs on its node.
func (s *suite) placePair(t *testing.T) {
	t.Helper()
	_, err := s.Client.AppsV1().StatefulSets("default").Create(s.Ctx, kit.StatefulSet("web", 2, kit.ByParity), metav1.CreateOptions{})
	kit.Must(t, err)
	want := map[string]string{"web-0": "node-1", "web-1": "node-2"}
	s.Eventually(t, 2*time.Minute, func() error {
		for name, node := range want {
			pod, err := s.Client.CoreV1().Pods("default").Get(s.Ctx, name, metav1.GetOptions{})
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
