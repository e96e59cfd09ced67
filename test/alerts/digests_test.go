package alerts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const setSize = 200

// testOff is the state before the Secret exists.
func (s *suite) testOff(t *testing.T) {
	s.off = append(s.off, s.create(t))
	s.deny(t)
	for _, pod := range s.replicaPods(t) {
		s.Eventually(t, waitTimeout, func() error {
			if !strings.Contains(s.Kubectl(t, "logs", "-n", pod.Namespace, pod.Name), `"alerts are off"`) {
				return fmt.Errorf("%s does not log that alerts are off", pod.Name)
			}
			return nil
		})
	}
	s.awaitEmpty(t) // so that nothing of this chapter is reported in a later one
	if sent, failed := s.sum(t, "sts_webhook_alert_sent_total"), s.sum(t, "sts_webhook_alert_failed_total"); sent+failed != 0 {
		t.Errorf("%v messages sent, %v failed, want none tried", sent, failed)
	}
}

// testTurnOn creates the Secret long after the webhook has started, and changes it.
func (s *suite) testTurnOn(t *testing.T) {
	started := map[string]metav1.Time{}
	for _, pod := range s.replicaPods(t) {
		started[pod.Name] = pod.Status.ContainerStatuses[0].State.Running.StartedAt
	}
	s.awaitAlerts(t, s.trial, "created", 1)
	s.awaitAlerts(t, s.fleet, "changed", replicas)
	for _, pod := range s.replicaPods(t) {
		if status := pod.Status.ContainerStatuses[0]; !status.State.Running.StartedAt.Equal(new(started[pod.Name])) || status.RestartCount != 0 {
			t.Errorf("%s was restarted", pod.Name)
		}
	}
}

// awaitAlerts puts the robot's credentials into the Secret and waits until it has
// heard of so many replicas.
func (s *suite) awaitAlerts(t *testing.T, r *kit.Robot, verb string, wanted int) {
	t.Helper()
	pods := s.replicaPods(t)
	begin := time.Now()
	if testing.Short() {
		s.putSecretNow(t, alertSecret, dataOf(r))
	} else {
		s.putSecret(t, alertSecret, dataOf(r))
	}
	heard := map[string]bool{}
	var first time.Duration
	s.Eventually(t, 4*time.Minute, func() error {
		s.deny(t)
		texts := r.Texts()
		for _, pod := range pods {
			if strings.Contains(texts, "replica "+pod.Name[strings.LastIndex(pod.Name, "-")+1:]) {
				heard[pod.Name] = true
			}
		}
		if len(heard) > 0 && first == 0 {
			first = time.Since(begin)
		}
		if len(heard) < wanted {
			s.Pause(2 * time.Second) // more denials a minute than a replica may report would fill its queue
			return fmt.Errorf("the robot heard of %d replicas, want %d", len(heard), wanted)
		}
		return nil
	})
	t.Logf("Secret %s: first alert after %.1f s, from %d replicas after %.1f s (kubelets nudged: %t)",
		verb, first.Seconds(), len(heard), time.Since(begin).Seconds(), testing.Short())
}

// awaitEmpty returns when nothing waits to be reported.
func (s *suite) awaitEmpty(t *testing.T) {
	t.Helper()
	s.Eventually(t, waitTimeout, func() error {
		if n := s.sum(t, "sts_webhook_alert_queue_length"); n > 0 {
			time.Sleep(500 * time.Millisecond)
			return fmt.Errorf("%v lines wait to be reported", n)
		}
		return nil
	})
}

// testDigests lets everything happen at once, while mistakes keep all replicas
// reporting as fast as they may.
func (s *suite) testDigests(t *testing.T) {
	begin := time.Now()
	defer s.checkLimit(t, begin) // it explains why digests do not come, too
	s.createSet(t, "web", setSize, kit.ByParity)
	s.Eventually(t, waitTimeout, func() error {
		pods, err := s.Client.CoreV1().Pods(s.namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: kit.SetLabel + "=web"})
		if err == nil && len(pods.Items) != setSize {
			err = fmt.Errorf("%d pods of web, want %d", len(pods.Items), setSize)
		}
		return err
	})
	t.Logf("%d pods of StatefulSet web were created in %.1f s", setSize, time.Since(begin).Seconds())
	kit.Must(t, s.StopChecks(s.Ctx)) // the next one would be refused when it is applied
	s.createSet(t, "broken", 1, misspelt)
	s.Kubectl(t, "exec", "-n", webhook.Namespace, "deploy/"+webhook.Deployment, "--", "/sts-webhook", "rotate")
	s.Eventually(t, waitTimeout, func() error {
		secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(s.Ctx, webhook.Secret, metav1.GetOptions{})
		if err == nil && strings.Count(string(secret.Data["ca.crt"]), "BEGIN CERTIFICATE") != 1 {
			err = fmt.Errorf("the old CA is still in %s", webhook.Secret)
		}
		return err
	})
	s.Kubectl(t, "patch", "secret", webhook.Secret, "-n", webhook.Namespace, "--type=merge", "-p", `{"data":null}`)
	for ; time.Since(begin) < 35*time.Second; s.Pause(3 * time.Second) {
		s.deny(t) // news for all replicas
	}
	s.awaitEmpty(t)
	s.checkPlaced(t)
	s.checkOnce(t)
	s.checkLines(t)
	// Its controller would try again in the middle of a later chapter.
	kit.Must(t, s.Client.AppsV1().StatefulSets(s.namespace).Delete(s.Ctx, "broken", metav1.DeleteOptions{}))
	s.awaitEmpty(t)
	if dropped := s.sum(t, "sts_webhook_alert_dropped_total"); dropped != 0 {
		t.Errorf("%v events were dropped", dropped)
	}
}

// checkLimit looks at the calls as the robot counted them.
func (s *suite) checkLimit(t *testing.T, begin time.Time) {
	t.Helper()
	stats := s.fleet.Stats()
	t.Logf("the robot after %.0f s: %d calls, %d accepted, at most %d in a minute, %d penalties, refused %v", time.Since(begin).Seconds(),
		stats.Calls, stats.Accepted, stats.MaxPerWindow, stats.Bans, stats.Refused)
	if stats.MaxPerWindow > dingtalktest.MaxPerWindow || stats.Bans != 0 || len(stats.Refused) != 0 {
		t.Errorf("got %+v, want at most %d calls a minute, none refused", stats, dingtalktest.MaxPerWindow)
	}
	if stats.Accepted < 2*replicas {
		t.Errorf("%d messages were accepted, too few to prove the limit", stats.Accepted)
	}
}

// checkPlaced adds up the digests: each ordinal, with the value of its parity.
func (s *suite) checkPlaced(t *testing.T) {
	t.Helper()
	got, messages := map[string]int{}, 0
	for _, m := range s.fleet.Messages() {
		placed, err := dingtalktest.Placed(m.Text)
		kit.Must(t, err)
		if len(placed) > 0 {
			messages++
		}
		for name, selector := range placed {
			got[name+" "+selector]++
		}
	}
	missing, twice := 0, 0
	for ordinal := range setSize {
		want := fmt.Sprintf("%s/web-%d name=node%d", s.namespace, ordinal, 1+ordinal%2)
		switch n := got[want]; {
		case n == 0:
			missing++
			t.Errorf("not reported: %s", want)
		case n > 1:
			twice++
		}
		delete(got, want)
	}
	t.Logf("%d ordinals in %d messages: %d missing, %d reported more than once", setSize, messages, missing, twice)
	for other := range got {
		t.Errorf("reported, but not placed: %s", other)
	}
}

// checkOnce holds what concerns the fleet to one report, and what each replica
// sees for itself to one report per replica.
func (s *suite) checkOnce(t *testing.T) {
	t.Helper()
	texts := s.fleet.Texts()
	for _, said := range []string{" signs, valid until ", " the old CA is removed; ", "Secret sts-webhook-certs was emptied "} {
		lines := linesWith(texts, said)
		if len(lines) != 1 || strings.Contains(lines[0], "times)") {
			t.Errorf("%s: reported %d times, want once for the fleet: %q", said, len(lines), lines)
			continue
		}
		t.Log(lines[0])
	}
	broken := s.namespace + "/broken"
	lines := linesWith(texts, " "+broken)
	if len(lines) == 0 || len(lines) > replicas {
		t.Fatalf("the mistake in broken was reported %d times, want at least once and at most once per replica: %q", len(lines), lines)
	}
	for _, m := range s.fleet.Messages() {
		for _, want := range []string{"unknown field evn", `{"key":"name","even":"node1","odd":"node2"}`} {
			if strings.Contains(m.Text, broken) && !strings.Contains(m.Text, want) {
				t.Errorf("%s\nlacks %q", m.Text, want)
			}
		}
	}
	t.Logf("the mistake was reported %d times by %d replicas: %s", len(lines), replicas, lines[0])
}

func linesWith(text, part string) (found []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// checkLines holds each message to what a phone shows.
func (s *suite) checkLines(t *testing.T) {
	t.Helper()
	most := 0
	for _, m := range s.fleet.Messages() {
		n := 0
		for line := range strings.Lines(m.Text) {
			if strings.TrimSpace(line) != "" {
				n++
			}
		}
		if most = max(most, n); n > 20 {
			t.Errorf("%d lines, want at most 20:\n%s", n, m.Text)
		}
		if placed, _ := dingtalktest.Placed(m.Text); len(placed) > 0 && strings.ContainsAny(m.Title, "🔴🟠🟡🟢") {
			t.Errorf("placements share a message with trouble: %s", m.Text)
		}
	}
	t.Logf("the longest message has %d lines", most)
}
