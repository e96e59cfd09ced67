package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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
	"EOF", "connection refused", "connection reset by peer", "broken pipe", "server closed idle connection",
	"use of closed network connection",
}

// stalled is what the creation of a pod that no webhook sees takes when the
// cluster itself is not able to answer; ordinarily it takes a hundredth of that.
const stalled = time.Second

// secretRepaired measures how long the Secret was damaged. It must be signed by the same CA again.
func secretRepaired(a *attempt) {
	damaged := false
	for _, v := range a.seen.since(a.hit, secretKind) {
		good := v.isWhole() && v.rotation.Generation > 0 && v.keyring.signer == a.before
		if damaged && good {
			after := v.at.Sub(a.hit)
			a.measure("the Secret was whole, with the same CA", after, healLimit)
			a.healed = fmt.Sprintf("%.2f s", after.Seconds())
			return
		}
		damaged = damaged || !good
	}
	a.t.Error("the Secret was never whole again with the same CA")
}

// bundleRepaired measures how long the caBundle, damaged from outside, was another one.
func bundleRepaired(a *attempt) {
	a.expect(a.hit, time.Now())
	a.measure("the last creation was lost", a.report.LastLost().Sub(a.hit), refusedLimit)
	for i, v := range a.seen.since(a.hit, configKind) {
		if i > 0 && !v.deleted && v.bundle == a.bundle {
			after := v.at.Sub(a.hit)
			a.measure("the caBundle was back", after, bundleLimit)
			a.remark("caBundle back after %.2f s", after.Seconds())
			return
		}
	}
	a.t.Error("the caBundle never came back")
}

// late are the measurements beyond their limits.
func (a *attempt) late() []measurement {
	return slices.DeleteFunc(slices.Clone(a.measured), func(m measurement) bool { return m.took <= m.limit })
}

// stallExplains reports whether a stall can be the cause of all that went wrong: of
// what came too late, and of creations that were lost by timeouts. It is not of what failed otherwise, such as a
// repair that never came.
func (a *attempt) stallExplains(stall time.Duration, failed bool) bool {
	late, lost := a.late(), a.unexplained()
	tooShort := func(m measurement) bool { return stall < min(stalled, m.limit/2) }
	otherwise := func(cause string) bool {
		return stall < stalled || !strings.Contains(cause, "context deadline exceeded")
	}
	return !failed && len(late)+len(lost) > 0 &&
		!slices.ContainsFunc(late, tooShort) && !slices.ContainsFunc(slices.Collect(maps.Keys(lost)), otherwise)
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
func (a *attempt) check(sc scenario) {
	for cause, n := range a.unexplained() {
		a.t.Errorf("lost %d creations that nothing explains, the longest outage from %s after the injection for %s: %s", n,
			a.report.Outage().From.Sub(a.hit).Round(time.Millisecond), a.report.Outage().Length().Round(time.Millisecond), cause)
	}
	for _, m := range a.late() {
		a.t.Error(m)
	}
	if same := a.seen.signer() == a.before; same == sc.rotates {
		a.t.Errorf("the CA is the same: %v, want %v", same, !sc.rotates)
	}
	if n := a.fleetWrites(); n > sc.writes {
		a.t.Errorf("writes of the Secret and the configuration: %d, want at most %d", n, sc.writes)
	}
	a.Pause(2 * logInterval)
	unexpected := func(line logLine) bool { return line.Level == "ERROR" && !holdsAny(line.text, sc.errors) }
	for _, line := range a.logs.since(a.begin, unexpected) {
		a.t.Errorf("%s of %s logged an error: %s", line.at.Format("15:04:05.000"), line.pod, line.text)
	}
	switch n := a.countForbidden() - a.forbidden; {
	case n <= 0: // fewer, when replicas were replaced
	case sc.forbids:
		a.remark("%v requests answered with 403", n)
	default:
		a.t.Errorf("requests answered with 403: %v, want none", n)
	}
}

// countForbidden counts the requests of our replicas that were answered with 403.
func (a *attempt) countForbidden() float64 {
	n, err := a.Sum(a.Ctx, "rest_client_requests_total", map[string]string{"code": "403"})
	a.must(err)
	return n
}

func TestUnexplained(t *testing.T) {
	const timeout, untrusted = "context deadline exceeded", "x509: certificate signed by unknown authority"
	late, inTime := []measurement{{"repaired", 2 * time.Second, time.Second}}, []measurement{{"repaired", time.Second / 2, time.Second}}
	kill := time.Unix(1000, 0)
	for name, tc := range map[string]struct {
		// after is when a creation was lost, from the kill on; no cause means that none was.
		after    time.Duration
		outcome  load.Outcome
		cause    string
		measured []measurement
		stall    time.Duration
		failed   bool
		// want is how many lost creations nothing explains, repeat whether the stall explains all that went wrong.
		want   int
		repeat bool
	}{
		"a call inside the replica when it was killed":   {after: -time.Second / 20, outcome: load.Refused, cause: "EOF"},
		"a connection to its address just afterwards":    {after: time.Second, outcome: load.Refused, cause: "connection refused"},
		"a connection to its address a long time after":  {after: 5 * time.Second, outcome: load.Refused, cause: "connection refused", want: 1},
		"a broken connection long before":                {after: -10 * time.Second, outcome: load.Refused, cause: "EOF", want: 1},
		"a certificate that nobody trusts":               {outcome: load.Refused, cause: untrusted, stall: 2 * time.Second, want: 1},
		"a replica that has no certificate":              {outcome: load.Refused, cause: "remote error: tls: internal error", want: 1},
		"a pod that was not changed":                     {outcome: load.Unmutated, cause: "no node selector", want: 1},
		"a pod that the cluster itself could not create": {outcome: load.Unavailable, cause: "EOF"},
		"nothing lost":                                {stall: 2 * time.Second},
		"a timeout while the machine stalled":         {outcome: load.Refused, cause: timeout, stall: 2 * time.Second, want: 1, repeat: true},
		"a timeout while it did not":                  {outcome: load.Refused, cause: timeout, stall: time.Second / 10, want: 1},
		"a repair too late while the machine stalled": {measured: late, stall: time.Second, repeat: true},
		"a repair too late while it did not":          {measured: late, stall: time.Second / 10},
		"a repair too late, and an untrusted one":     {outcome: load.Refused, cause: untrusted, measured: late, stall: 2 * time.Second, want: 1},
		"a repair in time":                            {measured: inTime, stall: 2 * time.Second},
		"a repair too late, and one that never came":  {measured: late, stall: 2 * time.Second, failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := &attempt{t: t, measured: tc.measured}
			if tc.cause != "" {
				sample := load.Sample{Start: kill.Add(tc.after), Latency: time.Second / 10, Outcome: tc.outcome, Cause: tc.cause}
				a.report.Samples = []load.Sample{sample}
			}
			a.expect(kill, kill.Add(deadFor), killed...)
			if got := a.unexplained(); len(got) != tc.want {
				t.Errorf("got %v, want %d unexplained", got, tc.want)
			}
			if got := a.stallExplains(tc.stall, tc.failed); got != tc.repeat {
				t.Errorf("the stall explains all: got %v, want %v", got, tc.repeat)
			}
		})
	}
}
