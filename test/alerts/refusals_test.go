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
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// refuse has a pod refused through the apiserver, by whichever replica it calls.
func (s *suite) refuse(ctx context.Context, namespace, set, field string) error {
	annotation := fmt.Sprintf(`{"key": "name", %q: "node1", "odd": "node2"}`, field)
	_, err := s.Client.CoreV1().Pods(namespace).Create(ctx, pod(set, 0, annotation), metav1.CreateOptions{})
	if err == nil {
		return errors.New("the pod was created, want a refusal")
	}
	return nil
}

// awaitReported waits until the robot has heard of each text.
func (s *suite) awaitReported(t *testing.T, r robot, texts ...string) {
	t.Helper()
	s.Eventually(t, waitTimeout, func() error {
		all := r.texts(s.Ctx, t)
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return fmt.Errorf("robot %s has not heard of %q", r.name, text)
			}
		}
		return nil
	})
}

// testImproper has one tenant's line refused for its words while the API server's trust
// is lost: the webhook configuration is deleted, and comes back.
func (s *suite) testImproper(t *testing.T) {
	before := s.fleet.stats(s.Ctx, t)
	sound := []string{"sound-a", "sound-b", "sound-c"}
	for _, set := range append([]string{"improper"}, sound...) {
		field := "evn"
		if set == "improper" {
			field = improper
		}
		kit.Must(t, s.refuse(s.Ctx, s.namespace, set, field))
	}
	configurations := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	kit.Must(t, configurations.Delete(s.Ctx, webhook.Configuration, metav1.DeleteOptions{}))
	begin := time.Now()
	s.awaitReported(t, s.fleet, "🔴 [proof] sts-webhook has lost its webhook configuration")
	t.Logf("the loss of trust was reported after %.1f s", time.Since(begin).Seconds())
	s.awaitReported(t, s.fleet, s.namespace+"/sound-a", s.namespace+"/sound-b", s.namespace+"/sound-c")
	file, err := os.ReadFile(s.Path("manifests/05-webhook.yaml"))
	kit.Must(t, err)
	s.applyText(t, string(file))
	s.awaitReported(t, s.fleet, "🟢 [proof] sts-webhook is trusted by the API server again (lasted ")
	s.awaitEmpty(t)
	texts, stats := s.fleet.texts(s.Ctx, t), s.fleet.stats(s.Ctx, t)
	if strings.Contains(texts, "/improper") {
		t.Error("the line at fault was reported")
	}
	if stats.Refused[430102] == before.Refused[430102] {
		t.Error("no message was refused, so this proves nothing")
	}
	t.Logf("%d messages were refused for their words, %v events given up", stats.Refused[430102], s.sum(t, "sts_webhook_alert_dropped_total"))
}

// applyText applies a manifest.
func (s *suite) applyText(t *testing.T, manifest string) {
	t.Helper()
	file := t.TempDir() + "/manifest.yaml"
	kit.Must(t, os.WriteFile(file, []byte(manifest), 0o600))
	_, err := s.Cluster.Kubectl(s.Ctx, "apply", "-f", file)
	kit.Must(t, err)
}

// testTeam adds a robot for one namespace to replicas that run.
func (s *suite) testTeam(t *testing.T) {
	team := s.Namespace(t, "team")
	s.putSecretNamed(t, teamSecret, map[string]string{"url": s.team.url(), "secret": s.team.secret, "namespaces": "# ours\n" + team + "\n"})
	s.nudge(t)
	begin := time.Now()
	tries := 0
	s.Eventually(t, waitTimeout, func() error {
		tries++
		kit.Must(t, s.refuse(s.Ctx, team, fmt.Sprintf("theirs-%d", tries), "evn"))
		kit.Must(t, s.refuse(s.Ctx, s.namespace, fmt.Sprintf("others-%d", tries), "evn"))
		if !strings.Contains(s.team.texts(s.Ctx, t), team+"/theirs-") {
			time.Sleep(2 * time.Second)
			return errors.New("the team's robot has heard of nothing")
		}
		return nil
	})
	t.Logf("Secret of the team's robot created: first message after %.1f s", time.Since(begin).Seconds())
	s.awaitReported(t, s.fleet, team+"/theirs-", s.namespace+"/others-")
	s.awaitEmpty(t)
	if texts := s.team.texts(s.Ctx, t); strings.Contains(texts, s.namespace+"/") {
		t.Errorf("the team's robot heard of another namespace:\n%s", texts)
	}
	kit.Must(t, s.Client.CoreV1().Secrets(webhook.Namespace).Delete(s.Ctx, teamSecret, metav1.DeleteOptions{}))
	s.nudge(t)
}

// testRollouts restarts the Deployment, as delivered with two replicas, again and again
// while pods are refused all the time. TestA3 of internal/alert does so at other speeds.
func (s *suite) testRollouts(t *testing.T) {
	rollouts := 10
	if !testing.Short() {
		rollouts = 30
	}
	kit.Must(t, s.Scale(s.Ctx, 2))
	before := s.fleet.stats(s.Ctx, t)
	ctx, stop := context.WithCancel(s.Ctx)
	var refusals sync.WaitGroup
	refused := 0
	refusals.Go(func() {
		for ctx.Err() == nil {
			refused++
			if err := s.refuse(s.Ctx, s.namespace, fmt.Sprintf("refusals-%d", refused), "evn"); err != nil {
				t.Errorf("refusals: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	begin := time.Now()
	for range rollouts {
		_, err := s.Cluster.Kubectl(s.Ctx, "rollout", "restart", "deployment", webhook.Deployment, "-n", webhook.Namespace)
		kit.Must(t, err)
		kit.Must(t, s.WaitRollout(s.Ctx))
	}
	took := time.Since(begin)
	stop()
	refusals.Wait()
	stats := s.fleet.stats(s.Ctx, t)
	t.Logf("%d rollouts of 2 replicas in %.0f s, %d pods refused: %d calls, at most %d in a minute, %d penalties",
		rollouts, took.Seconds(), refused, stats.Calls-before.Calls, stats.MaxPerWindow, stats.Bans)
	if stats.Bans != 0 || stats.MaxPerWindow > dingtalktest.MaxPerWindow {
		t.Errorf("got %+v, want no penalty", stats)
	}
	if stats.Accepted == before.Accepted {
		t.Error("nothing was reported, so this proves nothing")
	}
	kit.Must(t, s.Scale(s.Ctx, replicas))
	s.awaitEmpty(t)
}

// checkLines holds each message to what a phone shows.
func (s *suite) checkLines(t *testing.T) {
	t.Helper()
	most := 0
	for _, m := range s.fleet.messages(s.Ctx, t) {
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
