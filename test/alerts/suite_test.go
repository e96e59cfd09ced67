package alerts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	replicas     = 3
	standInImage = "sts-webhook-test/standin:1"
	// waitTimeout bounds each wait for the cluster.
	waitTimeout = 2 * time.Minute
)

// flags of the webhook in the story. A short overlap lets a rotation end in seconds.
var flags = []string{
	"--dingtalk-allow-http", "--alert-language=en", "--alert-timezone=UTC", "--cluster-name=" + clusterName,
	"--ca-overlap=2s", "--rotation-check=1s",
}

const clusterName = "proof"

// suite is what the chapters share.
type suite struct {
	*kit.Suite
	// fleet is the robot that the replicas report to, trial and strict are for
	// alert-test; strict asks for a keyword that no message holds, team hears of one namespace.
	fleet, trial, strict, team robot
	// namespace is where the story's pods are created.
	namespace string
	// printed is what alert-test printed, to be searched for secrets.
	printed []string
	// off and hung are the loads without alerts and with a robot that hangs.
	off, hung []round
	// nudges counts the annotations that make the kubelets look at once.
	nudges int
	// sets counts the owners of pods made by create, reviews those of direct calls.
	sets    int
	reviews atomic.Int64
}

func setUp(t *testing.T) *suite {
	t.Helper()
	s := &suite{Suite: kit.Start(t, kit.Options{
		Name: "alerts", Timeout: 40 * time.Minute, Fresh: true,
		Programs: map[string]string{standInImage: "internal/alert/dingtalktest/standin"},
	})}
	s.install(t)
	s.namespace = s.Namespace(t, "proof")
	s.startStandIn(t)
	return s
}

// install applies the manifests, the Deployment with three replicas and the flags,
// and waits until none of another kind is left.
func (s *suite) install(t *testing.T) {
	t.Helper()
	args, err := json.Marshal(flags)
	kit.Must(t, err)
	patch := fmt.Sprintf(`{"spec":{"replicas":%d,"template":{"spec":{
		"containers":[{"name":%q,"args":%s,"volumeMounts":[{"name":"team","mountPath":"/etc/sts-webhook/robots/team","readOnly":true}]}],
		"volumes":[{"name":"team","secret":{"secretName":%q,"optional":true,"defaultMode":288}}]}}}}`, replicas, webhook.Deployment, args, teamSecret)
	files, err := filepath.Glob(s.Path("manifests/*.yaml"))
	kit.Must(t, err)
	dir := t.TempDir()
	for _, file := range files {
		content, err := os.ReadFile(file)
		kit.Must(t, err)
		if filepath.Base(file) == "40-deployment.yaml" {
			patched, err := s.Cluster.Kubectl(s.Ctx, "patch", "--local", "-f", file, "-o", "yaml", "-p", patch)
			kit.Must(t, err)
			content = []byte(patched)
		}
		kit.Must(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o600))
	}
	_, err = s.Cluster.Kubectl(s.Ctx, "apply", "-f", dir)
	kit.Must(t, err)
	kit.Must(t, s.WaitRollout(s.Ctx))
}

// replicaPods are the three replicas that serve.
func (s *suite) replicaPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	s.Eventually(t, waitTimeout, func() (err error) {
		if pods, err = s.Replicas(s.Ctx); err == nil && len(pods) != replicas {
			err = fmt.Errorf("%d replicas, want %d", len(pods), replicas)
		}
		return err
	})
	return pods
}
