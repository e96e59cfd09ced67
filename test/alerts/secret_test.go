package alerts

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// alertSecret is the optional Secret of the documentation.
const alertSecret = "sts-webhook-dingtalk"

// teamSecret is the Secret of the robot that hears of one namespace.
const teamSecret = "sts-webhook-dingtalk-team"

// putSecret creates or changes the Secret.
func (s *suite) putSecret(t *testing.T, url, secret string) {
	t.Helper()
	s.putSecretNamed(t, alertSecret, map[string]string{"url": url, "secret": secret})
}

func (s *suite) putSecretNamed(t *testing.T, name string, data map[string]string) {
	t.Helper()
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	secrets := s.Client.CoreV1().Secrets(webhook.Namespace)
	_, err := secrets.Create(s.Ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(s.Ctx, object, metav1.UpdateOptions{})
	}
	kit.Must(t, err)
}

func (s *suite) deleteSecret(t *testing.T) {
	t.Helper()
	kit.Must(t, s.Client.CoreV1().Secrets(webhook.Namespace).Delete(s.Ctx, alertSecret, metav1.DeleteOptions{}))
}

// nudge makes the kubelets look at the replicas' volumes now. They would by
// themselves within a minute or a minute and a half.
func (s *suite) nudge(t *testing.T) {
	t.Helper()
	s.nudges++
	_, err := s.Cluster.Kubectl(s.Ctx, "annotate", "pods", "-n", webhook.Namespace, "-l", "app="+webhook.Deployment,
		"--overwrite", fmt.Sprintf("nudge=%d", s.nudges))
	kit.Must(t, err)
}

// alertTest runs the command in a replica as the documentation says, and returns
// its exit code and what it printed.
func (s *suite) alertTest(t *testing.T) (int, string) {
	t.Helper()
	out, err := s.Cluster.Kubectl(s.Ctx, "exec", "-n", webhook.Namespace, "deploy/"+webhook.Deployment, "--",
		"/sts-webhook", "alert-test", "--dingtalk-allow-http", "--alert-language=en")
	s.printed = append(s.printed, out)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err != nil {
		return exit.ExitCode(), out
	}
	return 0, out
}

// testAlertTest changes the Secret under a running replica and reads each answer.
// No event comes in the meantime, so the replicas themselves send nothing.
func (s *suite) testAlertTest(t *testing.T) {
	for _, step := range []struct {
		name        string
		url, secret string
		code        int
		sentence    string
	}{
		{"no Secret", "", "", 1, `no robot is configured: put the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`},
		{"all is right", s.trial.url(), s.trial.secret, 0, "DingTalk accepted the test message: the robot's address is right, and the call was signed."},
		{"bad signature", s.trial.url(), s.fleet.secret, 1, `copy the SEC... text of the robot's "additional signature" setting into key "secret" of Secret sts-webhook-dingtalk`},
		{"keyword missing", s.strict.url(), s.strict.secret, 1, `set the robot's custom keyword to "sts-webhook"`},
		{"token unknown", strings.Replace(s.trial.url(), s.trial.token, s.strict.token, 1), s.trial.secret, 1, `copy the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`},
	} {
		t.Run(step.name, func(t *testing.T) {
			begin := time.Now()
			if step.url != "" {
				s.putSecret(t, step.url, step.secret)
				s.nudge(t)
			}
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
	if m := s.trial.messages(s.Ctx, t); len(m) == 0 || !strings.Contains(m[0].Text, "test message") {
		t.Errorf("the trial robot got %d messages, want a test message", len(m))
	}
	s.deleteSecret(t)
	s.nudge(t)
	s.Eventually(t, waitTimeout, func() error {
		if _, out := s.alertTest(t); !strings.Contains(out, "no robot is configured") {
			return fmt.Errorf("after the Secret was deleted, alert-test says: %s", out)
		}
		return nil
	})
}
