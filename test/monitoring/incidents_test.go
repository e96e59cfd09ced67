package monitoring

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/selfsigned"
	"sts-mutating-webhook/test/webhook"
)

const wrongRule = `{"key": "name", "evn": "node1", "odd": "node2"}`

// testNoReplica scales to 0. While no replica answers, a pod with a mistake is stored behind the gate, and the Secret is deleted, so
// that the replicas that come back make a certificate of two days.
func (s *suite) testNoReplica(t *testing.T) {
	kit.Must(t, s.StopChecks(s.Ctx))
	s.begin("StsWebhookNoReplica")
	kit.Must(t, s.Scale(s.Ctx, 0))
	s.fires(t, "StsWebhookNoReplica")

	set := kit.StatefulSet("waiting", 1, wrongRule)
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
	s.Eventually(t, waitTimeout, func() error {
		_, err := s.Client.CoreV1().Pods(namespace).Get(s.Ctx, "waiting-0", metav1.GetOptions{})
		return err
	})
	s.begin("StsWebhookPodsWaiting", "StsWebhookCertificateEnding")
	s.Kubectl(t, "--namespace", webhook.Namespace, "delete", "secret", webhook.Secret)
	kit.Must(t, s.Configure(s.Ctx, "--cert-duration=48h"))
	s.end("StsWebhookNoReplica")
	kit.Must(t, s.Scale(s.Ctx, 2))
	s.gone(t, "StsWebhookNoReplica")
}

// testDenials has pods of many StatefulSets refused: more events than may wait for a robot that cannot be reached.
func (s *suite) testDenials(t *testing.T) {
	s.begin("StsWebhookDenials", "StsWebhookAlertsDropped")
	var creations errgroup.Group
	creations.SetLimit(8)
	for i := range 300 {
		pod := kit.OwnedPod(fmt.Sprintf("wrong%d", i), 0, wrongRule)
		creations.Go(func() error {
			_, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, pod, metav1.CreateOptions{})
			if err == nil || !strings.Contains(err.Error(), `field "evn" is unknown`) {
				return fmt.Errorf("create pod %s: got %v, want a refusal", pod.Name, err)
			}
			return nil
		})
	}
	kit.Must(t, creations.Wait())
	s.end("StsWebhookDenials", "StsWebhookAlertsDropped")
	s.fires(t, "StsWebhookDenials", "StsWebhookAlertsDropped")
}

// testLog stops the container runtime of a replica's node, which reads the log, and calls the replica until it has nowhere to put
// the lines. In the end it also waits for the end of what testDenials began: all three last as long as the range of their rules.
func (s *suite) testLog(t *testing.T) {
	pods, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	daemon := pods[0].Spec.NodeName + "." + cluster.Runtime
	s.begin("StsWebhookLogDropped")
	kit.Must(t, s.Cluster.StopDaemon(s.Ctx, daemon))
	stop := s.flood(t, pods[0], 0)
	s.fires(t, "StsWebhookLogDropped")
	stop()
	kit.Must(t, s.Cluster.StartDaemon(s.Ctx, daemon))
	s.end("StsWebhookLogDropped")
	s.gone(t, "StsWebhookDenials", "StsWebhookAlertsDropped", "StsWebhookLogDropped")
}

// testSlow takes the CPU away from the replicas while large pods are created. It looks at the dashboard at the end, when every kind of
// series has moved.
func (s *suite) testSlow(t *testing.T) {
	pods, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	run, err := load.Start(s.Ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace}, Rate: 20})
	kit.Must(t, err)
	defer run.Stop()
	s.begin("StsWebhookSlow")
	var stops []func()
	for _, pod := range pods {
		throttle(t, pod, 8*time.Millisecond)
		stops = append(stops, s.flood(t, pod, 1<<20))
	}
	s.fires(t, "StsWebhookSlow")
	for i, pod := range pods {
		throttle(t, pod, 0)
		stops[i]()
	}
	s.end("StsWebhookSlow")
	s.gone(t, "StsWebhookSlow")
	s.testDashboard(t)
}

func (s *suite) testDashboard(t *testing.T) {
	n := 0
	for title, expressions := range readDashboard(t) {
		for _, e := range expressions {
			n++
			values, err := s.query(strings.ReplaceAll(e, "$__rate_interval", "10s"))
			if err != nil || len(values) == 0 {
				t.Errorf("panel %q: %s: got %v, %v, want data", title, e, values, err)
			}
		}
	}
	s.Remark("%d expressions of the dashboard have data", n)
}

// throttle lets a replica have so much CPU time in each tenth of a second; 0 is no limit. It does what a CPU limit of the
// container does.
func throttle(t *testing.T, pod corev1.Pod, quota time.Duration) {
	t.Helper()
	pid, err := process.PID(pod, "/sts-webhook")
	kit.Must(t, err)
	text := string(read(t, fmt.Sprintf("/proc/%d/cgroup", pid)))
	for line := range strings.Lines(text) {
		hierarchy := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, group
		for file, values := range map[string]struct{ limited, free string }{
			"cpu.cfs_quota_us": {"%d", "-1"},                // version 1
			"cpu.max":          {"%d 100000", "max 100000"}, // version 2
		} {
			value := values.free
			if quota > 0 {
				value = fmt.Sprintf(values.limited, quota.Microseconds())
			}
			file = filepath.Join("/sys/fs/cgroup", hierarchy[1], hierarchy[2], file)
			if _, err := os.Stat(file); err == nil {
				kit.Must(t, os.WriteFile(file, []byte(value), 0o644))
				return
			}
		}
	}
	t.Fatalf("%s: no CPU controller in %s", pod.Name, text)
}

// testTrust takes the right to write the webhook configuration away, and then replaces the caBundle.
func (s *suite) testTrust(t *testing.T) {
	other, err := selfsigned.New("other")
	kit.Must(t, err)
	bundle := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other.Leaf.Raw}))
	s.Kubectl(t, "patch", "clusterrole", "sts-webhook", "--type=json", "--patch",
		`[{"op":"replace","path":"/rules/0/verbs","value":["get","list","watch"]}]`)
	s.begin("StsWebhookNotTrusted", "StsWebhookRotationOverdue")
	s.Kubectl(t, "patch", "mutatingwebhookconfiguration", webhook.Configuration, "--type=json", "--patch", fmt.Sprintf(
		`[{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":%q},{"op":"replace","path":"/webhooks/1/clientConfig/caBundle","value":%[1]q}]`, bundle))
	s.fires(t, "StsWebhookNotTrusted", "StsWebhookRotationOverdue")
	s.Kubectl(t, "apply", "-f", s.Path("manifests/10-rbac.yaml"))
	s.end("StsWebhookNotTrusted", "StsWebhookRotationOverdue")
	s.gone(t, "StsWebhookNotTrusted", "StsWebhookRotationOverdue")
}

// testWaiting ends what testNoReplica began, the way the runbook says.
func (s *suite) testWaiting(t *testing.T) {
	s.fires(t, "StsWebhookPodsWaiting")
	s.Kubectl(t, "--namespace", namespace, "patch", "statefulset", "waiting", "--patch",
		fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, webhook.Annotation, kit.ByParity))
	s.Kubectl(t, "--namespace", namespace, "delete", "pod", "waiting-0")
	s.end("StsWebhookPodsWaiting")
	s.gone(t, "StsWebhookPodsWaiting")
	s.Kubectl(t, "--namespace", namespace, "wait", "pod/waiting-0", "--for=condition=Ready", "--timeout=60s")
}

// testCertificate ends what testNoReplica began, the way the runbook says.
func (s *suite) testCertificate(t *testing.T) {
	s.fires(t, "StsWebhookCertificateEnding")
	kit.Must(t, s.Configure(s.Ctx))
	kit.Must(t, s.WaitDrained(s.Ctx)) // a replica with the old flags must not be the one that rotates
	s.Kubectl(t, "--namespace", webhook.Namespace, "exec", "deployment/"+webhook.Deployment, "--", "/sts-webhook", "rotate")
	s.end("StsWebhookCertificateEnding")
	s.gone(t, "StsWebhookCertificateEnding")
}
