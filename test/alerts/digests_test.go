package alerts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/test/webhook"
)

const setSize = 200

// testOff is the state before the Secret exists.
func (w *world) testOff(t *testing.T) {
	w.off = append(w.off, w.create(t))
	w.deny(t, 1)
	for _, pod := range w.replicaPods(t) {
		w.eventually(t, waitTimeout, func() error {
			if !strings.Contains(w.logs(w.ctx, t, pod.Namespace, pod.Name), `"alerts are off"`) {
				return fmt.Errorf("%s does not log that alerts are off", pod.Name)
			}
			return nil
		})
	}
	w.awaitEmpty(t) // so that nothing of this chapter is told in a later one
	if sent, failed := w.sum(t, "sts_webhook_alert_sent_total"), w.sum(t, "sts_webhook_alert_failed_total"); sent+failed != 0 {
		t.Errorf("%v messages sent, %v failed, want none tried", sent, failed)
	}
}

// testTurnOn creates the Secret long after the webhook has started, and changes it.
func (w *world) testTurnOn(t *testing.T) {
	started := map[string]metav1.Time{}
	for _, pod := range w.replicaPods(t) {
		started[pod.Name] = pod.Status.ContainerStatuses[0].State.Running.StartedAt
	}
	w.awaitAlerts(t, w.trial, "created", 1)
	w.awaitAlerts(t, w.fleet, "changed", replicas)
	for _, pod := range w.replicaPods(t) {
		if status := pod.Status.ContainerStatuses[0]; !status.State.Running.StartedAt.Equal(new(started[pod.Name])) || status.RestartCount != 0 {
			t.Errorf("%s was restarted", pod.Name)
		}
	}
}

// awaitAlerts puts the robot's credentials into the Secret and waits until it has
// heard of so many replicas.
func (w *world) awaitAlerts(t *testing.T, r robot, verb string, wanted int) {
	t.Helper()
	pods := w.replicaPods(t)
	begin := time.Now()
	w.putSecret(t, r.url(), r.secret)
	if !w.full {
		w.nudge(t)
	}
	heard := map[string]bool{}
	var first time.Duration
	w.eventually(t, 4*time.Minute, func() error {
		w.deny(t, 1)
		told := r.told(w.ctx, t)
		for _, pod := range pods {
			if strings.Contains(told, "replica "+pod.Name[strings.LastIndex(pod.Name, "-")+1:]) {
				heard[pod.Name] = true
			}
		}
		if len(heard) > 0 && first == 0 {
			first = time.Since(begin)
		}
		if len(heard) < wanted {
			time.Sleep(800 * time.Millisecond)
			return fmt.Errorf("robot %s heard of %d replicas, want %d", r.name, len(heard), wanted)
		}
		return nil
	})
	t.Logf("Secret %s: first alert at robot %s after %.1f s, from %d replicas after %.1f s (kubelets nudged: %t)",
		verb, r.name, first.Seconds(), len(heard), time.Since(begin).Seconds(), !w.full)
}

// awaitEmpty returns when nothing waits to be told.
func (w *world) awaitEmpty(t *testing.T) {
	t.Helper()
	w.eventually(t, waitTimeout, func() error {
		if n := w.sum(t, "sts_webhook_alert_queue_length"); n > 0 {
			time.Sleep(500 * time.Millisecond)
			return fmt.Errorf("%v lines wait to be told", n)
		}
		return nil
	})
}

// testDigests lets everything happen at once, while mistakes keep all replicas
// reporting as fast as they may.
func (w *world) testDigests(t *testing.T) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, waitTimeout)
	defer cancel()
	defer w.checkLimit(t, begin) // it explains why digests do not come, too
	w.createSet(t, statefulSet("web", setSize, byParity))
	t.Logf("%d pods of StatefulSet web were created in %.1f s", setSize, time.Since(begin).Seconds())
	must(t, w.StopChecks(ctx)) // the next one would be refused when it is applied
	_, err := w.Client.AppsV1().StatefulSets(w.namespace).Create(ctx, statefulSet("broken", 1, misspelt), metav1.CreateOptions{})
	must(t, err)
	requests, err := client.New(w.Cluster.RESTConfig(), client.Options{})
	must(t, err)
	must(t, rotator.Request(ctx, requests, webhook.Namespace, false, testLog{t}))
	w.awaitRotation(t)
	_, err = w.Client.CoreV1().Secrets(webhook.Namespace).Patch(ctx, webhook.Secret, types.MergePatchType, []byte(`{"data":null}`), metav1.PatchOptions{})
	must(t, err)
	if rest := 35*time.Second - time.Since(begin); rest > 0 {
		w.keepDenying(t, rest)
	}
	w.awaitEmpty(t)
	w.checkPlaced(t)
	w.checkOnce(t)
	w.checkLines(t)
	// Its controller would try again in the middle of a later chapter.
	must(t, w.Client.AppsV1().StatefulSets(w.namespace).Delete(w.ctx, "broken", metav1.DeleteOptions{}))
	w.awaitEmpty(t)
	if dropped := w.sum(t, "sts_webhook_alert_dropped_total"); dropped != 0 {
		t.Errorf("%v events were dropped", dropped)
	}
}

// checkLimit looks at the calls as the robot counted them.
func (w *world) checkLimit(t *testing.T, begin time.Time) {
	t.Helper()
	stats := w.fleet.stats(w.ctx, t)
	t.Logf("the robot after %.0f s: %d calls, %d accepted, at most %d in a minute, %d penalties, refused %v", time.Since(begin).Seconds(),
		stats.Calls, stats.Accepted, stats.MaxPerWindow, stats.Bans, stats.Refused)
	if stats.MaxPerWindow > dingtalktest.MaxPerWindow || stats.Bans != 0 || len(stats.Refused) != 0 {
		t.Errorf("got %+v, want at most %d calls a minute, none refused", stats, dingtalktest.MaxPerWindow)
	}
	if stats.Accepted < 2*replicas {
		t.Errorf("%d messages were accepted, too few to prove the limit", stats.Accepted)
	}
}

// awaitRotation returns when the old CA is gone.
func (w *world) awaitRotation(t *testing.T) {
	t.Helper()
	w.eventually(t, waitTimeout, func() error {
		s, err := w.Client.CoreV1().Secrets(webhook.Namespace).Get(w.ctx, webhook.Secret, metav1.GetOptions{})
		if err == nil && strings.Count(string(s.Data["ca.crt"]), "BEGIN CERTIFICATE") != 1 {
			err = errors.New("a rotation is under way")
		}
		return err
	})
}

// keepDenying makes news for all replicas.
func (w *world) keepDenying(t *testing.T, d time.Duration) {
	t.Helper()
	ticker := time.NewTicker(3 * time.Second)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
		w.deny(t, 1)
	}
}

// checkPlaced adds up the digests: each ordinal, with the value of its parity.
func (w *world) checkPlaced(t *testing.T) {
	t.Helper()
	got, messages := map[string]int{}, 0
	for _, m := range w.fleet.messages(w.ctx, t) {
		placed, err := dingtalktest.Placed(m.Text)
		must(t, err)
		if len(placed) > 0 {
			messages++
		}
		for name, selector := range placed {
			got[name+" "+selector]++
		}
	}
	missing, twice := 0, 0
	for ordinal := range setSize {
		want := fmt.Sprintf("%s/web-%d name=node%d", w.namespace, ordinal, 1+ordinal%2)
		switch n := got[want]; {
		case n == 0:
			missing++
			t.Errorf("not told: %s", want)
		case n > 1:
			twice++
		}
		delete(got, want)
	}
	t.Logf("%d ordinals in %d messages: %d missing, %d told more than once", setSize, messages, missing, twice)
	for other := range got {
		t.Errorf("told, but not placed: %s", other)
	}
}

// checkOnce holds what concerns the fleet to one report, and what each replica
// sees for itself to one report per replica.
func (w *world) checkOnce(t *testing.T) {
	t.Helper()
	told := w.fleet.told(w.ctx, t)
	for _, said := range []string{" signs, valid until ", " the old CA is removed; ", "Secret sts-webhook-certs was emptied "} {
		lines := linesWith(told, said)
		if len(lines) != 1 || strings.Contains(lines[0], "times)") {
			t.Errorf("%s: told %d times, want once for the fleet: %q", said, len(lines), lines)
			continue
		}
		t.Log(lines[0])
	}
	lines := linesWith(told, " "+w.namespace+"/broken")
	if len(lines) == 0 || len(lines) > replicas {
		t.Fatalf("the mistake in broken was told %d times, want at least once and at most once per replica: %q", len(lines), lines)
	}
	for _, m := range w.fleet.messages(w.ctx, t) {
		if !strings.Contains(m.Text, w.namespace+"/broken") {
			continue
		}
		for _, want := range []string{"unknown field evn", "{\"key\":\"name\",\"even\":\"node1\",\"odd\":\"node2\"}"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("%s\nlacks %q", m.Text, want)
			}
		}
	}
	t.Logf("the mistake was told %d times by %d replicas: %s", len(lines), replicas, lines[0])
}

func linesWith(text, part string) (found []string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
