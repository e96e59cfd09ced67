package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	// bundleLimit is the promise: how long a damaged caBundle stays.
	bundleLimit = 300 * time.Millisecond
	// refusedLimit bounds how long creations may be refused because of it: the
	// apiserver learns of the repair by a watch, and calls are under way.
	refusedLimit = time.Second
	// healLimit bounds how long the Secret may be damaged.
	healLimit = 5 * time.Second
	// deadFor bounds how long the address of a killed replica may stay in the Service:
	// the kubelet looks every second, then the status has to travel to every node.
	deadFor = 4 * time.Second
)

// killed are the causes of a refusal at a replica that has just been killed. Nobody
// can save the calls inside it, nor the connections made to it before the kubelet
// has noticed.
var killed = []string{
	"EOF", "connection refused", "connection reset by peer", "broken pipe", "server closed idle connection", "use of closed network connection",
}

// stalled is what the creation of a pod that no webhook sees takes when the
// cluster itself is not able to answer; ordinarily it takes a hundredth of that.
const stalled = time.Second

// measureRepairs measures how long the damage stayed.
func (a *attempt) measureRepairs(sc scenario) {
	if after, ok := a.wholeAfter(); ok && sc.repair == secretRepair {
		a.measure("the Secret was whole, with the same CA", after, healLimit)
	} else if sc.repair == secretRepair {
		a.fail("the Secret was never whole again with the same CA")
	}
	if sc.repair != bundleRepair {
		return
	}
	a.expect(a.hit, time.Now())
	a.measure("the last creation was lost", a.report.LastLost().Sub(a.hit), refusedLimit)
	if after, ok := a.bundleAfter(); ok {
		a.measure("the caBundle was back", after, bundleLimit)
	} else {
		a.fail("the caBundle never came back")
	}
}

// late are the measurements beyond their limits.
func (a *attempt) late() []measurement {
	return slices.DeleteFunc(slices.Clone(a.measured), func(m measurement) bool { return m.took <= m.limit })
}

// blamesMachine reports whether a stall can be the cause of all that went wrong: of
// what came too late, and of creations that were lost by timeouts.
func (a *attempt) blamesMachine(stall time.Duration) bool {
	late, lost := a.late(), a.unexplained()
	if len(a.failures) > 0 || len(late) == 0 && len(lost) == 0 {
		return false
	}
	for _, m := range late {
		if stall < min(stalled, m.limit/2) {
			return false
		}
	}
	for cause := range lost {
		if stall < stalled || !strings.Contains(cause, "context deadline exceeded") {
			return false
		}
	}
	return true
}

// unexplained counts the lost creations that nothing explains, by cause.
func (a *attempt) unexplained() map[string]int {
	var others load.Report
	for _, sample := range a.report.Samples {
		if sample.Outcome.Lost() && !slices.ContainsFunc(a.expected, func(w window) bool { return w.covers(sample) }) {
			others.Samples = append(others.Samples, sample)
		}
	}
	return others.Causes()
}

// check checks ours.
func (s *suite) check(ctx context.Context, t *testing.T, sc scenario, a *attempt) {
	for cause, n := range a.unexplained() {
		t.Errorf("lost %d creations that nothing explains, the longest outage from %s after the injection for %s: %s", n,
			a.report.Outage().From.Sub(a.hit).Round(time.Millisecond), a.report.Outage().Length().Round(time.Millisecond), cause)
	}
	for _, m := range a.late() {
		t.Error(m)
	}
	for _, text := range a.failures {
		t.Error(text)
	}
	if same := a.seen.signer() == a.before; same == sc.rotates {
		t.Errorf("the CA is the same: %v, want %v", same, !sc.rotates)
	}
	if n := a.fleetWrites(); n > sc.writes {
		t.Errorf("writes of the Secret and the configuration: %d, want at most %d", n, sc.writes)
	}
	s.checkReplicas(ctx, t, sc, a)
	if t.Failed() {
		a.logVersions(t)
	}
}

// logVersions says what happened to the two objects.
func (a *attempt) logVersions(t *testing.T) {
	for _, kind := range []string{secretKind, configKind} {
		versions, _ := a.seen.after(a.begin, kind)
		for _, v := range versions {
			t.Log(v)
		}
	}
}

// checkReplicas looks at the logs and at the answers that the replicas got.
func (s *suite) checkReplicas(ctx context.Context, t *testing.T, sc scenario, a *attempt) {
	kit.Must(t, kit.Sleep(ctx, 2*logInterval))
	for _, line := range s.logs.errors(a.begin, sc.errors) {
		t.Errorf("%s of %s logged an error: %s", line.At.Format("15:04:05.000"), line.pod, line.text)
	}
	forbidden, err := s.forbidden(ctx)
	kit.Must(t, err)
	switch n := forbidden - a.forbidden; {
	case n <= 0: // fewer, when replicas were replaced
	case sc.forbids:
		a.remark("%v requests answered with 403", n)
	default:
		t.Errorf("requests answered with 403: %v, want none", n)
	}
}

// forbidden counts the requests of our replicas that were answered with 403.
func (s *suite) forbidden(ctx context.Context) (float64, error) {
	return s.Sum(ctx, "rest_client_requests_total", map[string]string{"code": "403"})
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
			a := &attempt{report: load.Report{Samples: []load.Sample{
				{Start: kill.Add(tc.after), Latency: 100 * time.Millisecond, Outcome: tc.outcome, Cause: tc.cause},
			}}}
			a.expect(kill, kill.Add(deadFor), killed...)
			if got := a.unexplained(); len(got) != tc.want {
				t.Errorf("got %v, want %d unexplained", got, tc.want)
			}
		})
	}
}

func TestBlamesMachine(t *testing.T) {
	const untrusted, timeout = "x509: certificate signed by unknown authority", "context deadline exceeded"
	second := measurement{"it was repaired", 2 * time.Second, time.Second}
	for name, tc := range map[string]struct {
		lost     string
		measured []measurement
		failures []string
		stall    time.Duration
		want     bool
	}{
		"nothing lost":                                       {stall: 2 * time.Second},
		"a timeout while the machine stalled":                {lost: timeout, stall: 2 * time.Second, want: true},
		"a timeout while it did not":                         {lost: timeout, stall: time.Second / 10},
		"a certificate that nobody trusts":                   {lost: untrusted, stall: 2 * time.Second},
		"a repair too late while the machine stalled":        {measured: []measurement{second}, stall: time.Second, want: true},
		"a repair too late while it did not":                 {measured: []measurement{second}, stall: time.Second / 10},
		"a repair too late, and a certificate nobody trusts": {lost: untrusted, measured: []measurement{second}, stall: 2 * time.Second},
		"a repair that never came":                           {measured: []measurement{second}, failures: []string{"never"}, stall: 2 * time.Second},
		"a repair in time":                                   {measured: []measurement{{"it was repaired", time.Second / 2, time.Second}}, stall: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{measured: tc.measured, failures: tc.failures}
			if tc.lost != "" {
				a.report.Samples = []load.Sample{{Start: time.Unix(1000, 0), Outcome: load.Refused, Cause: tc.lost}}
			}
			if got := a.blamesMachine(tc.stall); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	if got, want := fmt.Sprint(second), "it was repaired: after 2.00 s, want within 1s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
