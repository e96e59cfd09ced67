package alerts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/webhook"
)

// refuse has a pod refused through the apiserver, by whichever replica it calls.
func (w *world) refuse(ctx context.Context, namespace, set, field string) error {
	annotation := fmt.Sprintf(`{"key": "name", %q: "node1", "odd": "node2"}`, field)
	_, err := w.Client.CoreV1().Pods(namespace).Create(ctx, pod(set, 0, annotation), metav1.CreateOptions{})
	if err == nil {
		return errors.New("the pod was created, want a refusal")
	}
	return nil
}

// awaitTold waits until the robot has heard of each text.
func (w *world) awaitTold(t *testing.T, r robot, texts ...string) {
	t.Helper()
	w.eventually(t, waitTimeout, func() error {
		told := r.told(w.ctx, t)
		for _, text := range texts {
			if !strings.Contains(told, text) {
				return fmt.Errorf("robot %s has not heard of %q", r.name, text)
			}
		}
		return nil
	})
}

// testImproper has one tenant's line refused for its words while the API server's trust
// is lost: the webhook configuration is deleted, and comes back.
func (w *world) testImproper(t *testing.T) {
	before := w.fleet.stats(w.ctx, t)
	sound := []string{"sound-a", "sound-b", "sound-c"}
	for _, set := range append([]string{"improper"}, sound...) {
		field := "evn"
		if set == "improper" {
			field = improper
		}
		must(t, w.refuse(w.ctx, w.namespace, set, field))
	}
	configurations := w.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	must(t, configurations.Delete(w.ctx, webhook.Configuration, metav1.DeleteOptions{}))
	begin := time.Now()
	w.awaitTold(t, w.fleet, "🔴 [proof] sts-webhook has lost its webhook configuration")
	t.Logf("the loss of trust was told after %.1f s", time.Since(begin).Seconds())
	w.awaitTold(t, w.fleet, w.namespace+"/sound-a", w.namespace+"/sound-b", w.namespace+"/sound-c")
	file, err := os.ReadFile(w.Path("manifests/05-webhook.yaml"))
	must(t, err)
	w.applyText(t, string(file))
	w.awaitTold(t, w.fleet, "🟢 [proof] sts-webhook is trusted by the API server again (lasted ")
	w.awaitEmpty(t)
	told, stats := w.fleet.told(w.ctx, t), w.fleet.stats(w.ctx, t)
	if strings.Contains(told, "/improper") {
		t.Error("the line at fault was told")
	}
	if stats.Refused[430102] == before.Refused[430102] {
		t.Error("no message was refused, so this proves nothing")
	}
	t.Logf("%d messages were refused for their words, %v events given up", stats.Refused[430102], w.sum(t, "sts_webhook_alert_dropped_total"))
}

// applyText applies a manifest.
func (w *world) applyText(t *testing.T, manifest string) {
	t.Helper()
	file := t.TempDir() + "/manifest.yaml"
	must(t, os.WriteFile(file, []byte(manifest), 0o600))
	_, err := w.Cluster.Kubectl(w.ctx, "apply", "-f", file)
	must(t, err)
}

// testTeam adds a robot for one namespace to replicas that run.
func (w *world) testTeam(t *testing.T) {
	team := w.makeNamespace(t, "team")
	w.putSecretNamed(t, teamSecret, map[string]string{"url": w.team.url(), "secret": w.team.secret, "namespaces": "# ours\n" + team + "\n"})
	w.nudge(t)
	begin := time.Now()
	tries := 0
	w.eventually(t, waitTimeout, func() error {
		tries++
		must(t, w.refuse(w.ctx, team, fmt.Sprintf("theirs-%d", tries), "evn"))
		must(t, w.refuse(w.ctx, w.namespace, fmt.Sprintf("others-%d", tries), "evn"))
		if !strings.Contains(w.team.told(w.ctx, t), team+"/theirs-") {
			time.Sleep(2 * time.Second)
			return errors.New("the team's robot has heard of nothing")
		}
		return nil
	})
	t.Logf("Secret of the team's robot created: first message after %.1f s", time.Since(begin).Seconds())
	w.awaitTold(t, w.fleet, team+"/theirs-", w.namespace+"/others-")
	w.awaitEmpty(t)
	if told := w.team.told(w.ctx, t); strings.Contains(told, w.namespace+"/") {
		t.Errorf("the team's robot heard of another namespace:\n%s", told)
	}
	must(t, w.Client.CoreV1().Secrets(webhook.Namespace).Delete(w.ctx, teamSecret, metav1.DeleteOptions{}))
	w.nudge(t)
}

// testRollouts restarts the Deployment, as delivered with two replicas, again and again
// while pods are refused all the time. TestA3 of internal/alert does so at other speeds.
func (w *world) testRollouts(t *testing.T) {
	rollouts := 10
	if w.full {
		rollouts = 30
	}
	must(t, w.Scale(w.ctx, 2))
	before := w.fleet.stats(w.ctx, t)
	ctx, stop := context.WithCancel(w.ctx)
	var news sync.WaitGroup
	refused := 0
	news.Go(func() {
		for ctx.Err() == nil {
			refused++
			if err := w.refuse(w.ctx, w.namespace, fmt.Sprintf("news-%d", refused), "evn"); err != nil {
				t.Errorf("news: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	begin := time.Now()
	for range rollouts {
		_, err := w.Cluster.Kubectl(w.ctx, "rollout", "restart", "deployment", webhook.Deployment, "-n", webhook.Namespace)
		must(t, err)
		must(t, w.WaitRollout(w.ctx))
	}
	took := time.Since(begin)
	stop()
	news.Wait()
	stats := w.fleet.stats(w.ctx, t)
	t.Logf("%d rollouts of 2 replicas in %.0f s, %d pods refused: %d calls, at most %d in a minute, %d penalties",
		rollouts, took.Seconds(), refused, stats.Calls-before.Calls, stats.MaxPerWindow, stats.Bans)
	if stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
		t.Errorf("got %+v, want no penalty", stats)
	}
	if stats.Accepted == before.Accepted {
		t.Error("nothing was told, so this proves nothing")
	}
	must(t, w.Scale(w.ctx, replicas))
	w.awaitEmpty(t)
}

// checkLines holds each message to what a phone shows.
func (w *world) checkLines(t *testing.T) {
	t.Helper()
	most := 0
	for _, m := range w.fleet.messages(w.ctx, t) {
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
