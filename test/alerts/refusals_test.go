package alerts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// testSilence has pods admitted as dry runs and looks for what must not be reported.
func (s *suite) testSilence(t *testing.T) {
	quiet := s.Namespace(t, "quiet")
	run, err := load.Start(s.Ctx, load.Options{
		Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: quiet}, Rate: creationRate, Limit: 100,
	})
	kit.Must(t, err)
	s.Pause(2 * time.Second)
	report := run.Stop()
	if report.Count(load.Admitted) == 0 || report.Lost() > 0 {
		t.Errorf("dry runs: %s: %v", report, report.Causes())
	}
	if n := s.sum(t, "sts_webhook_alert_queue_length"); n != 0 {
		t.Errorf("%v lines wait after dry runs, want none", n)
	}
	texts := s.fleet.Texts()
	for _, never := range []string{quiet + "/", "replica started", "replica stopping", "started a replica", "is stopping a replica"} {
		if strings.Contains(texts, never) {
			t.Errorf("reported: %q", never)
		}
	}
	if !strings.Contains(texts, "["+clusterName+"] sts-webhook") {
		t.Error("no title holds the cluster's name")
	}
}

// awaitReported waits until the fleet's robot has accepted each text.
func (s *suite) awaitReported(t *testing.T, texts ...string) {
	t.Helper()
	s.Eventually(t, waitTimeout, func() error {
		all := s.fleet.Texts()
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return fmt.Errorf("the fleet's robot has not heard of %q", text)
			}
		}
		return nil
	})
}

// testImproper has one tenant's line refused for its words while the API server's trust
// is lost: the webhook configuration is deleted, and comes back.
func (s *suite) testImproper(t *testing.T) {
	const atFault = 430102
	before := s.fleet.Stats()
	kit.Must(t, s.refuse(s.namespace, "improper", improper))
	for _, set := range []string{"sound-a", "sound-b", "sound-c"} {
		kit.Must(t, s.refuse(s.namespace, set, "evn"))
	}
	s.Kubectl(t, "delete", "mutatingwebhookconfiguration", webhook.Configuration)
	begin := time.Now()
	s.awaitReported(t, "🔴 [proof] sts-webhook has lost its webhook configuration")
	t.Logf("the loss of trust was reported after %.1f s", time.Since(begin).Seconds())
	s.awaitReported(t, s.namespace+"/sound-a", s.namespace+"/sound-b", s.namespace+"/sound-c")
	s.Kubectl(t, "apply", "-f", s.Path("manifests/05-webhook.yaml"))
	s.awaitReported(t, "🟢 [proof] sts-webhook is trusted by the API server again (lasted ")
	s.awaitEmpty(t)
	if strings.Contains(s.fleet.Texts(), "/improper") {
		t.Error("the line at fault was reported")
	}
	refused := s.fleet.Stats().Refused[atFault]
	if refused == before.Refused[atFault] {
		t.Error("no message was refused, so this proves nothing")
	}
	t.Logf("%d messages were refused for their words, %v events given up", refused, s.sum(t, "sts_webhook_alert_dropped_total"))
}

// testTeam adds a robot for one namespace to replicas that run.
func (s *suite) testTeam(t *testing.T) {
	team := s.Namespace(t, "team")
	data := dataOf(s.team)
	data["namespaces"] = "# ours\n" + team + "\n"
	s.putSecretNow(t, teamSecret, data)
	begin := time.Now()
	tries := 0
	s.Eventually(t, waitTimeout, func() error {
		tries++
		kit.Must(t, s.refuse(team, fmt.Sprintf("theirs-%d", tries), "evn"))
		kit.Must(t, s.refuse(s.namespace, fmt.Sprintf("others-%d", tries), "evn"))
		if !strings.Contains(s.team.Texts(), team+"/theirs-") {
			time.Sleep(2 * time.Second)
			return errors.New("the team's robot has heard of nothing")
		}
		return nil
	})
	t.Logf("Secret of the team's robot created: first message after %.1f s", time.Since(begin).Seconds())
	s.awaitReported(t, team+"/theirs-", s.namespace+"/others-")
	s.awaitEmpty(t)
	if texts := s.team.Texts(); strings.Contains(texts, s.namespace+"/") {
		t.Errorf("the team's robot heard of another namespace:\n%s", texts)
	}
	s.putSecretNow(t, teamSecret, nil)
}

// testRollouts restarts the Deployment, as delivered with two replicas, again and again
// while pods are refused all the time. TestA3 of internal/alert does so at other speeds.
func (s *suite) testRollouts(t *testing.T) {
	rollouts := 10
	if !testing.Short() {
		rollouts = 30
	}
	kit.Must(t, s.Scale(s.Ctx, 2))
	before := s.fleet.Stats()
	ctx, stop := context.WithCancel(s.Ctx)
	var refusals sync.WaitGroup
	refused := 0
	refusals.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			refused++
			if err := s.refuse(s.namespace, fmt.Sprintf("refusals-%d", refused), "evn"); err != nil {
				t.Errorf("refusals: %v", err)
			}
		}
	})
	begin := time.Now()
	for range rollouts {
		kit.Must(t, s.Restart(s.Ctx))
	}
	took := time.Since(begin)
	stop()
	refusals.Wait()
	stats := s.fleet.Stats()
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
