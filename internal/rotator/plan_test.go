package rotator

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// testCA lives for 30 hours from epoch on, so it is replaced from hour 20 on.
func testCA(id string) ca { return ca{id: id, created: epoch, expires: at(30 * time.Hour)} }

func ringAt(step time.Duration, staged bool, ids ...string) ring {
	r := ring{signer: testCA(ids[0]), staged: staged, record: record{At: at(step), StagedAt: at(step), Overlap: duration(2 * time.Hour)}}
	if len(ids) == 2 {
		other := testCA(ids[1])
		r.other = &other
	}
	return r
}

func TestPlan(t *testing.T) {
	unrecorded := ringAt(0, false, "A")
	unrecorded.record = record{}
	for name, c := range map[string]struct {
		ring ring
		ask  request
		now  time.Duration
		step step
		due  time.Duration
	}{
		"a Secret without a record gets one":            {unrecorded, request{}, time.Hour, stepMark, time.Hour},
		"a young CA stays":                              {ringAt(time.Minute, false, "A"), request{}, time.Hour, stepStage, 20 * time.Hour},
		"a CA is replaced at two thirds of its life":    {ringAt(time.Minute, false, "A"), request{}, 20 * time.Hour, stepStage, 20 * time.Hour},
		"a staged CA signs after the overlap":           {ringAt(20*time.Hour, true, "A", "B"), request{}, 21 * time.Hour, stepPromote, 22 * time.Hour},
		"the old CA is dropped after another":           {ringAt(22*time.Hour, false, "B", "A"), request{}, 23 * time.Hour, stepRetire, 24 * time.Hour},
		"a CA that ends first leaves half of its rest":  {ringAt(29*time.Hour, true, "A", "B"), request{}, 29 * time.Hour, stepPromote, 29*time.Hour + 30*time.Minute},
		"a request stages at once":                      {ringAt(time.Minute, false, "A"), request{RotateAt: at(time.Hour)}, time.Hour, stepStage, time.Hour},
		"a request that was carried out is over":        {ringAt(time.Hour, false, "A"), request{RotateAt: at(time.Hour)}, 2 * time.Hour, stepStage, 20 * time.Hour},
		"a request during a rotation waits for its end": {ringAt(time.Hour, true, "A", "B"), request{RotateAt: at(2 * time.Hour)}, 2 * time.Hour, stepPromote, 3 * time.Hour},
		"distrust does not wait for a rotation's end":   {ringAt(time.Hour, true, "A", "B"), request{DistrustBefore: at(2 * time.Hour)}, 2 * time.Hour, stepStage, 2 * time.Hour},
		"distrust that was carried out is over":         {ringAt(2*time.Hour, true, "A", "C"), request{DistrustBefore: at(2 * time.Hour)}, 2 * time.Hour, stepPromote, 4 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s, due := plan(c.ring, c.ask, at(c.now))
			if s != c.step || !due.Equal(at(c.due)) {
				t.Errorf("plan: %s at %s, want %s at %s", s, due.Sub(epoch), c.step, c.due)
			}
		})
	}
}

func TestDistrustDropsEveryOlderCAInSeconds(t *testing.T) {
	ask := request{DistrustBefore: at(time.Hour)}
	r := ringAt(time.Minute, true, "A", "B") // both keys were in the Secret that leaked
	now := at(time.Hour)
	var steps []step
	for i := 0; i < 10; i++ {
		s, due := plan(r, ask, now)
		if due.After(now.Add(time.Minute)) {
			break
		}
		now = latestOf(now, due)
		r = r.advance(s, testCA("C"), overlapFor(r, ask, testPolicy), now)
		steps = append(steps, s)
	}
	if !slices.Equal(steps, []step{stepStage, stepPromote, stepRetire}) {
		t.Fatalf("steps %v", steps)
	}
	if ids := r.ids(); !slices.Equal(ids, []string{"C"}) {
		t.Errorf("trusted at the end: %v, want C alone", ids)
	}
	if took := now.Sub(at(time.Hour)); took > 5*time.Second {
		t.Errorf("took %s, want at most 5s", took)
	}
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestAfterTrust(t *testing.T) {
	r := ringAt(0, true, "A", "B")
	for name, c := range map[string]struct {
		step  step
		since time.Time
		want  time.Time
	}{
		"only a promotion waits":                        {stepRetire, time.Time{}, at(2 * time.Hour)},
		"never while the caBundle is not ours":          {stepPromote, time.Time{}, never},
		"at once when it has been ours all along":       {stepPromote, at(time.Minute), at(2 * time.Hour)},
		"after the settle time when it was just healed": {stepPromote, at(2 * time.Hour), at(2 * time.Hour).Add(settleTime)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := afterTrust(c.step, at(2*time.Hour), r, c.since); !got.Equal(c.want) {
				t.Errorf("due %s, want %s", got, c.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	older, newer := ringAt(time.Hour, false, "A"), ringAt(2*time.Hour, true, "A", "B")
	foreignSame, foreignNone := ringAt(time.Hour, false, "Z"), ringAt(0, false, "Z")
	foreignNone.record = record{}
	future := ringAt(24*time.Hour, false, "A")
	both := []string{"B", "A"}
	for name, c := range map[string]struct {
		memory *ring
		seen   sight
		now    time.Duration
		want   verdict
	}{
		"nothing known, nothing there: the first CA":            {nil, sight{blank: true}, 0, found},
		"nothing known, but a caBundle: somebody remembers":     {nil, sight{blank: true, bundle: both}, 0, wait},
		"nothing known, junk there: somebody may remember":      {nil, sight{}, 0, wait},
		"nothing known, Secret and caBundle agree":              {nil, sight{secret: &newer, bundle: both}, 0, adopt},
		"nothing known, no caBundle yet":                        {nil, sight{secret: &older}, 0, adopt},
		"nothing known, the caBundle holds another CA":          {nil, sight{secret: &foreignNone, bundle: both}, 0, wait},
		"nothing known, the caBundle holds more":                {nil, sight{secret: &older, bundle: both}, 0, wait},
		"nothing known, the staged CA is not injected yet":      {nil, sight{secret: &newer, bundle: []string{"A"}}, 0, adopt},
		"nothing known, the caBundle lacks the signer":          {nil, sight{secret: &newer, bundle: []string{"B"}}, 0, wait},
		"the Secret is what is remembered":                      {&older, sight{secret: &older}, 3 * time.Hour, keep},
		"the Secret took a step":                                {&older, sight{secret: &newer}, 3 * time.Hour, adopt},
		"the Secret went back a step":                           {&newer, sight{secret: &older}, 3 * time.Hour, restore},
		"the Secret is gone":                                    {&older, sight{blank: true}, 3 * time.Hour, restore},
		"the Secret holds another CA and no record":             {&older, sight{secret: &foreignNone}, 3 * time.Hour, restore},
		"the Secret holds another CA with the same record":      {&older, sight{secret: &foreignSame}, 3 * time.Hour, restore},
		"the Secret's step lies in the future":                  {&older, sight{secret: &future}, 3 * time.Hour, restore},
		"what is remembered has expired, the Secret is damaged": {&older, sight{bundle: both}, 31 * time.Hour, wait},
		"what is remembered has expired, the Secret is good":    {&older, sight{secret: &future}, 31 * time.Hour, adopt},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judge(c.memory, c.seen, at(c.now)); got != c.want {
				t.Errorf("verdict %d, want %d", got, c.want)
			}
		})
	}
}

func TestPolicyValidateGivesTheReason(t *testing.T) {
	good := Policy{CADuration: 87600 * time.Hour, CertDuration: 8760 * time.Hour, CAOverlap: 24 * time.Hour, RotationCheck: time.Hour}
	for name, c := range map[string]struct {
		change func(*Policy)
		want   []string
	}{
		"the defaults": {func(*Policy) {}, nil},
		"all zero":     {func(p *Policy) { *p = Policy{} }, []string{"--ca-duration=0s: must be positive", "--cert-duration=0s", "--ca-overlap=0s", "--rotation-check=0s"}},
		"a lookahead that reaches the CA": {func(p *Policy) { p.CADuration = p.CertDuration },
			[]string{"--ca-duration=8760h0m0s: must be at least 8910h0m0s", "re-key for ever"}},
		"an overlap longer than the rest of the CA": {func(p *Policy) { p.CAOverlap = 20000 * time.Hour }, []string{"twice --ca-overlap=20000h0m0s"}},
		"checks too rare to renew in time":          {func(p *Policy) { p.RotationCheck = 2000 * time.Hour }, []string{"--rotation-check=2000h0m0s: must be at most 1460h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			c.change(&p)
			err := p.Validate()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// The reason why Validate bounds the durations: with any policy that it accepts,
// the CA is out of the engine's reach when its lookahead arrives.
func TestAnAcceptedPolicyKeepsTheEngineFromReKeying(t *testing.T) {
	p := Policy{CAOverlap: 5 * time.Hour, CertDuration: 9 * time.Hour, RotationCheck: time.Hour}
	p.CADuration = 3 * (2*p.CAOverlap + p.lookahead() + 2*p.RotationCheck)
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	tight := p
	tight.CADuration -= time.Second
	if tight.Validate() == nil {
		t.Error("a second less is accepted too: the bound is not the bound")
	}
	signer := ca{id: "A", created: epoch, expires: at(p.CADuration)}
	r := ring{signer: signer, record: record{At: at(time.Second)}}
	now := epoch
	for r.signer.id == "A" || r.other != nil {
		s, due := plan(r, request{}, now)
		now = latestOf(now, due).Add(p.RotationCheck) // the latest moment at which a replica looks
		r = r.advance(s, ca{id: "B", created: now, expires: now.Add(p.CADuration)}, p.CAOverlap, now)
		if s == stepPromote && now.Add(p.lookahead()).After(signer.expires) {
			t.Errorf("promoted %s before the CA's end, inside the engine's lookahead of %s", signer.expires.Sub(now), p.lookahead())
		}
	}
}

func TestRequestsAndRecordsAreReadStrictlyEnough(t *testing.T) {
	if r := parseRecord(encode(record{At: testNow, CAs: []string{"x"}})); !r.At.Equal(testNow) {
		t.Errorf("record %+v does not survive", r)
	}
	for _, damaged := range []string{"", "{", `{"at":"yesterday"}`, `{"overlap":"1 fortnight"}`} {
		if r := parseRecord(damaged); !r.At.IsZero() || r.Overlap != 0 {
			t.Errorf("record %q read as %+v, want none", damaged, r)
		}
	}
	if q, err := parseRequest(""); err != nil || q != (request{}) {
		t.Errorf("no request read as %+v, %v", q, err)
	}
	if _, err := parseRequest("now please"); err == nil || !strings.Contains(err.Error(), requestAnnotation) {
		t.Errorf("error %v, want one that names the annotation", err)
	}
}

func TestTrustIsReportedLostOnlyAfterPatience(t *testing.T) {
	var w trustWatch
	sequence := []struct {
		at      time.Duration
		trusted bool
		want    trustChange
	}{
		{0, true, trustSame}, {1 * time.Second, false, trustSame}, {2 * time.Second, true, trustSame},
		{3 * time.Second, false, trustSame}, {7 * time.Second, false, trustSame}, {8 * time.Second, false, trustLost},
		{20 * time.Second, false, trustSame}, {21 * time.Second, true, trustRestored}, {22 * time.Second, true, trustSame},
	}
	for _, s := range sequence {
		if got := w.see(s.trusted, at(s.at)); got != s.want {
			t.Errorf("after %s, trusted=%v: %d, want %d", s.at, s.trusted, got, s.want)
		}
	}
}
