package chaos

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/load"
)

// bundleLimit bounds how long creations may be refused after the caBundle was damaged.
const bundleLimit = time.Second

// healLimit bounds how long the Secret may be damaged.
const healLimit = 5 * time.Second

// blamesMachine tells whether what went wrong can be the fault of a machine that
// stalled: a repair that came too late, or nothing but timeouts of calls.
func (sc scenario) blamesMachine(s *shot) bool {
	if sc.bundle {
		after, ok := s.bundleAfter()
		return ok && max(after, s.refusedUntil()) > bundleLimit
	}
	if sc.heals && s.report.Lost() == 0 {
		after, ok := s.wholeAfter()
		return ok && after > healLimit
	}
	for cause := range s.report.Causes() {
		if !strings.Contains(cause, "context deadline exceeded") {
			return false
		}
	}
	return s.report.Lost() > 0
}

// refusedUntil is the time from the damage to the end of the last refused creation.
func (s *shot) refusedUntil() time.Duration {
	return s.report.LastLost(load.Refused, load.Denied, load.WrongSelector).Sub(s.hit)
}

// judge checks ours.
func (w *world) judge(ctx context.Context, t *testing.T, sc scenario, s *shot) {
	switch lost := s.report.Lost(); {
	case sc.bundle:
		if after := s.refusedUntil(); after > bundleLimit {
			t.Errorf("creations were refused until %v after the damage, want at most %v", after, bundleLimit)
		}
		if after, ok := s.bundleAfter(); !ok || after > bundleLimit {
			t.Errorf("the caBundle was back: %v, after %v; want within %v", ok, after, bundleLimit)
		}
	case sc.kills:
		for cause, n := range s.unexplained() {
			t.Errorf("lost %d creations that no killed replica explains: %s", n, cause)
		}
	case lost > 0:
		t.Errorf("lost %d creations (%s after the event, for %s), want none: %v", lost,
			s.report.Outage().From.Sub(s.hit), s.report.Outage().Length(), s.report.Causes())
	}
	if sc.heals {
		if after, ok := s.wholeAfter(); !ok || after > healLimit {
			t.Errorf("the Secret was whole, with the same CA: %v, after %v; want within %v", ok, after, healLimit)
		}
	}
	if same := s.seen.signer() == s.before; same == sc.rotates {
		t.Errorf("the CA is the same: %v, want %v", same, !sc.rotates)
	}
	secret, configuration := s.fleetWrites()
	if n := secret + configuration - s.writes; n > sc.writes {
		t.Errorf("writes: %d of the Secret and %d of the configuration, %d of them the test's; want at most %d by the fleet", secret, configuration, s.writes, sc.writes)
		s.logVersions(t)
	}
	w.judgeReplicas(ctx, t, sc, s)
}

// logVersions tells what happened to the two objects.
func (s *shot) logVersions(t *testing.T) {
	for _, kind := range []string{"Secret", "configuration"} {
		versions, _ := s.seen.after(s.begin, kind)
		for _, v := range versions {
			t.Log(v)
		}
	}
}

// deadFor bounds how long the address of a killed replica may stay in the Service:
// the kubelet looks every second, then the status has to travel to every node.
const deadFor = 4 * time.Second

// killed are the causes of a refusal at a replica that has just been killed.
var killed = []string{
	"EOF", "connection refused", "connection reset by peer", "broken pipe", "server closed idle connection", "use of closed network connection",
}

// unexplained are the causes of losses that have nothing to do with a killed
// replica: others than a broken or refused connection, or at another time.
func (s *shot) unexplained() map[string]int {
	var others load.Report
	for _, sample := range s.report.Samples {
		explained := slices.ContainsFunc(s.kills, func(at time.Time) bool {
			return sample.End().After(at) && sample.Start.Before(at.Add(deadFor))
		})
		if sample.Outcome.Lost() && !(explained && sample.Outcome == load.Refused && holdsAny(sample.Cause, killed)) {
			others.Samples = append(others.Samples, sample)
		}
	}
	return others.Causes()
}

// judgeReplicas looks at the logs and at the answers that the replicas got.
func (w *world) judgeReplicas(ctx context.Context, t *testing.T, sc scenario, s *shot) {
	check(t, sleep(ctx, 500*time.Millisecond)) // the logs are read every 200 ms
	for _, line := range w.logs.errors(s.begin, sc.errors) {
		t.Errorf("%s of %s logged an error: %s: %s", line.At.Format("15:04:05.000"), line.pod, line.Msg, line.Err)
	}
	forbidden, err := w.forbidden(ctx)
	check(t, err)
	switch n := forbidden - s.forbidden; {
	case n <= 0: // fewer, when replicas were replaced
	case sc.starts:
		s.remark("%v requests answered with 403 by the apiserver before it knew its roles", n)
	default:
		t.Errorf("requests answered with 403: %v, want none", n)
	}
}

// forbidden counts the requests of our replicas that were answered with 403.
func (w *world) forbidden(ctx context.Context) (float64, error) {
	return w.webhook.Sum(ctx, "rest_client_requests_total", map[string]string{"code": "403"})
}

func TestUnexplained(t *testing.T) {
	kill := time.Unix(1000, 0)
	for name, tc := range map[string]struct {
		after   time.Duration
		outcome load.Outcome
		cause   string
		want    int
	}{
		"a call inside the replica when it was killed":   {-50 * time.Millisecond, load.Refused, "EOF", 0},
		"a connection to its address just afterwards":    {time.Second, load.Refused, "dial tcp 10.96.0.5:8443: connect: connection refused", 0},
		"a connection to its address a long time after":  {deadFor + time.Second, load.Refused, "dial tcp 10.96.0.5:8443: connect: connection refused", 1},
		"a broken connection long before":                {-10 * time.Second, load.Refused, "EOF", 1},
		"a certificate that nobody trusts":               {time.Second, load.Refused, "tls: failed to verify certificate", 1},
		"a replica that has no certificate":              {time.Second, load.Refused, "remote error: tls: internal error", 1},
		"a pod that was not changed":                     {time.Second, load.Unmutated, "no node selector", 1},
		"a pod that the cluster itself could not create": {time.Second, load.Unavailable, "EOF", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shot{kills: []time.Time{kill}, report: load.Report{Samples: []load.Sample{
				{Start: kill.Add(tc.after), Latency: 100 * time.Millisecond, Outcome: tc.outcome, Cause: tc.cause},
			}}}
			if got := s.unexplained(); len(got) != tc.want {
				t.Errorf("got %v, want %d unexplained", got, tc.want)
			}
		})
	}
}

func TestBlamesMachine(t *testing.T) {
	hit := time.Unix(1000, 0)
	lost := func(cause string, after time.Duration) load.Report {
		return load.Report{Samples: []load.Sample{{Start: hit.Add(after), Outcome: load.Refused, Cause: cause}}}
	}
	seen := &recorder{versions: []version{
		{kind: "configuration", at: hit}, {kind: "configuration", at: hit.Add(time.Second / 10), bundle: "b"},
		{kind: "Secret", at: hit, deleted: true}, {kind: "Secret", at: hit.Add(time.Second), keyring: keyring{signer: "a"}},
	}}
	for name, tc := range map[string]struct {
		sc     scenario
		report load.Report
		want   bool
	}{
		"nothing lost":                       {scenario{}, load.Report{}, false},
		"a timeout":                          {scenario{}, lost("context deadline exceeded", 0), true},
		"a certificate that nobody trusts":   {scenario{}, lost("x509: certificate signed by unknown authority", 0), false},
		"a caBundle repaired in half second": {scenario{bundle: true}, lost("x509: certificate signed by unknown authority", time.Second/2), false},
		"a caBundle repaired too late":       {scenario{bundle: true}, lost("x509: certificate signed by unknown authority", 2*time.Second), true},
		"a Secret repaired in time":          {scenario{heals: true}, load.Report{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.sc.blamesMachine(&shot{target: &target{seen: seen}, before: "a", bundle: "b", hit: hit, report: tc.report}); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
