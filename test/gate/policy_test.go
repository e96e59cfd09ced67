package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// setPolicy chooses what happens to a pod when no replica answers.
func (s *suite) setPolicy(t *testing.T, policy string) {
	t.Helper()
	if policy == "gate" {
		kit.Must(t, s.StartGate(s.Ctx))
		s.Eventually(t, time.Minute, func() error { return s.placersWork(s.Ctx) })
		return
	}
	kit.Must(t, s.StopGate(s.Ctx))
	s.Kubectl(t, "patch", "mutatingwebhookconfiguration", webhook.Configuration, "--type=json",
		"--patch", fmt.Sprintf(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":%q}]`, policy))
	s.Pause(time.Second) // the apiserver follows
}

// placersWork returns nil when every replica says that it places pods.
func (s *suite) placersWork(ctx context.Context) error {
	replicas, err := s.Replicas(ctx)
	if err != nil {
		return err
	}
	for _, pod := range replicas {
		log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return err
		}
		text := string(log)
		if strings.LastIndex(text, `"placing pods`) <= strings.LastIndex(text, `"no longer placing pods`) {
			return fmt.Errorf("%s does not place pods yet", pod.Name)
		}
	}
	return nil
}
