package alerts

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyv1 "k8s.io/client-go/applyconfigurations/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	// alertSecret is the optional Secret of the documentation.
	alertSecret = "sts-webhook-dingtalk"
	// teamSecret is the Secret of the robot that hears of one namespace.
	teamSecret = "sts-webhook-dingtalk-team"
)

// dataOf is what the Secret of a robot holds.
func dataOf(r *kit.Robot) map[string]string {
	return map[string]string{"url": r.URL, "secret": r.Secret}
}

// putSecret creates or changes a Secret; without data it is deleted.
func (s *suite) putSecret(t *testing.T, name string, data map[string]string) {
	t.Helper()
	secrets := s.Client.CoreV1().Secrets(webhook.Namespace)
	if data == nil {
		if err := secrets.Delete(s.Ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
			kit.Must(t, err)
		}
		return
	}
	_, err := secrets.Apply(s.Ctx, applyv1.Secret(name, webhook.Namespace).WithStringData(data), metav1.ApplyOptions{FieldManager: "test"})
	kit.Must(t, err)
}

// putSecretNow makes the kubelets look at the replicas' volumes, too. They would by
// themselves within a minute or a minute and a half.
func (s *suite) putSecretNow(t *testing.T, name string, data map[string]string) {
	t.Helper()
	s.putSecret(t, name, data)
	s.nudges++
	s.Kubectl(t, "annotate", "pods", "-n", webhook.Namespace, "-l", "app="+webhook.Deployment,
		"--overwrite", fmt.Sprintf("nudge=%d", s.nudges))
}

// alertTest runs the command in a replica as the documentation says, and returns
// its exit code and what it printed.
func (s *suite) alertTest(t *testing.T) (int, string) {
	t.Helper()
	out, err := s.Cluster.Kubectl(s.Ctx, "exec", "-n", webhook.Namespace, "deploy/"+webhook.Deployment, "--",
		"/sts-webhook", "alert-test", "--dingtalk-allow-http", "--alert-language=en")
	s.printed = append(s.printed, out)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), out
	}
	kit.Must(t, err)
	return 0, out
}

// testAlertTest changes the Secret under a running replica and reads each answer.
// No event comes in the meantime, so the replicas themselves send nothing.
func (s *suite) testAlertTest(t *testing.T) {
	const none = `no robot is configured: put the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`
	for _, step := range []struct {
		name     string
		data     map[string]string // nil: no Secret
		code     int
		sentence string
	}{
		{"no Secret", nil, 1, none},
		{"all is right", dataOf(s.trial), 0, "DingTalk accepted the test message: the robot's address is right, and the call was signed."},
		{"bad signature", map[string]string{"url": s.trial.URL, "secret": s.fleet.Secret}, 1,
			`copy the SEC... text of the robot's "additional signature" setting into key "secret" of Secret sts-webhook-dingtalk`},
		{"keyword missing", dataOf(s.strict), 1, `set the robot's custom keyword to "sts-webhook"`},
		{"token unknown", map[string]string{
			"url": strings.Replace(s.trial.URL, s.trial.Token, s.strict.Token, 1), "secret": s.trial.Secret,
		}, 1,
			`copy the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`},
		{"the Secret was deleted", nil, 1, none},
	} {
		t.Run(step.name, func(t *testing.T) {
			begin := time.Now()
			s.putSecretNow(t, alertSecret, step.data)
			var code int
			var out string
			s.Eventually(t, waitTimeout, func() error {
				if code, out = s.alertTest(t); !strings.Contains(out, step.sentence) {
					time.Sleep(300 * time.Millisecond) // the robot counts calls
					return fmt.Errorf("alert-test says: %s", out)
				}
				return nil
			})
			if code != step.code {
				t.Errorf("exit code: got %d, want %d", code, step.code)
			}
			t.Logf("after %.1f s exit code %d: %s", time.Since(begin).Seconds(), code, strings.TrimSpace(out))
		})
	}
	if texts := s.trial.Texts(); !strings.Contains(texts, "test message") {
		t.Errorf("the trial robot got %q, want a test message", texts)
	}
}
