package rotator

import (
	"strings"
	"testing"
	"time"
)

var testPolicy = Policy{CADuration: 30 * time.Hour, CertDuration: 12 * time.Hour, CAOverlap: 2 * time.Hour, RotationCheck: time.Minute}

// noon is the time of every case; CAs and leaves of summaryOf were made just then.
var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func summaryOf(generation uint32, digest string, ids ...string) *summary {
	k := &summary{digest: digest, leafCreated: noon, leafExpires: noon.Add(12 * time.Hour), record: record{Format: 1, Generation: generation}}
	for _, id := range ids {
		k.trusted = append(k.trusted, ca{id: id, created: noon, expires: noon.Add(30 * time.Hour)})
	}
	return k
}

func TestDecide(t *testing.T) {
	a, b := summaryOf(5, "a", "A"), summaryOf(6, "b", "B", "A")
	leafless := summaryOf(6, "l", "A")
	leafless.leafExpires = time.Time{}
	ours := bundle{matches: true, trustsMemory: true, trustsSecret: true}
	agrees, disagrees := bundle{trustsSecret: true, since: noon}, bundle{trustsMemory: true, since: noon}
	foreign, empty := bundle{since: noon}, bundle{empty: true, since: noon}
	waited, waiting := noon.Add(-peerTimeout), noon.Add(-peerTimeout+1)
	held := noon.Add(1)
	for name, c := range map[string]struct {
		s    state
		want kind
	}{
		"nothing anywhere: the first CA":                              {state{blank: true, bundles: []bundle{empty}}, create},
		"no configuration yet counts as no caBundle":                  {state{blank: true}, create},
		"starting: Secret and caBundle agree":                         {state{secret: a, bundles: []bundle{agrees}}, adopt},
		"starting: they agree, but the leaf is lost: wait":            {state{secret: leafless, bundles: []bundle{agrees}}, wait},
		"starting: the leaf is lost, and nobody brought it back":      {state{secret: leafless, bundles: []bundle{agrees}, waitSince: waited}, adopt},
		"starting: one of two caBundles disagrees: wait":              {state{secret: a, bundles: []bundle{agrees, foreign}}, wait},
		"starting: an empty caBundle does not agree: wait":            {state{secret: a, bundles: []bundle{empty}}, wait},
		"starting: nor after almost five seconds":                     {state{secret: a, bundles: []bundle{empty}, waitSince: waiting}, wait},
		"starting: after five seconds an empty caBundle does":         {state{secret: a, bundles: []bundle{empty}, waitSince: waited}, adopt},
		"starting: a caBundle, and no Secret: wait":                   {state{blank: true, bundles: []bundle{foreign}}, wait},
		"starting: a damaged Secret, even without a caBundle: wait":   {state{bundles: []bundle{empty}}, wait},
		"starting: nobody remembers: a new CA":                        {state{blank: true, bundles: []bundle{foreign}, waitSince: waited}, create},
		"starting: the caBundle names another CA for good: a new one": {state{secret: a, bundles: []bundle{foreign}, waitSince: waited}, create},
		"starting: while writes fail: nothing":                        {state{blank: true, secretHeldUntil: held}, keep},

		"all is well":                                             {state{memory: a, secret: a, bundles: []bundle{ours}}, keep},
		"a later Secret that continues":                           {state{memory: a, secret: b, continues: true, bundles: []bundle{ours}}, adopt},
		"a later Secret that the caBundle agrees with":            {state{memory: a, secret: b, bundles: []bundle{agrees}}, adopt},
		"a later Secret of somebody else":                         {state{memory: a, secret: b, bundles: []bundle{disagrees}}, restore},
		"a later Secret of somebody else, and no caBundle":        {state{memory: a, secret: b, bundles: []bundle{empty}}, restore},
		"a later Secret without its leaf":                         {state{memory: a, secret: leafless, continues: true, bundles: []bundle{ours}}, restore},
		"an older Secret":                                         {state{memory: b, secret: a, continues: true, bundles: []bundle{ours}}, restore},
		"a Secret of the same generation with another byte":       {state{memory: a, secret: summaryOf(5, "x", "A"), continues: true, bundles: []bundle{ours}}, restore},
		"a Secret without a record":                               {state{memory: a, secret: summaryOf(0, "x", "A"), continues: true, bundles: []bundle{ours}}, restore},
		"a Secret that is deleted or emptied":                     {state{memory: a, blank: true, bundles: []bundle{ours}}, restore},
		"a Secret that is damaged":                                {state{memory: a, bundles: []bundle{ours}}, restore},
		"a CA that has ended is not defended":                     {state{now: noon.Add(30 * time.Hour), memory: a, secret: b, bundles: []bundle{disagrees}}, adopt},
		"a damaged Secret that cannot be written":                 {state{memory: a, secretHeldUntil: held, bundles: []bundle{ours}}, keep},
		"the caBundle is repaired though the Secret cannot be":    {state{memory: a, secretHeldUntil: held, bundles: []bundle{foreign}}, inject},
		"a caBundle that refuses us":                              {state{memory: a, secret: a, bundles: []bundle{foreign}}, inject},
		"a caBundle that is empty":                                {state{memory: a, secret: a, bundles: []bundle{empty}}, inject},
		"a caBundle that refuses us and cannot be written":        {state{memory: a, secret: a, bundles: []bundle{{since: noon, heldUntil: held}}}, keep},
		"a caBundle that verifies us by a bridge is left a while": {state{memory: a, secret: a, bundles: []bundle{{trustsMemory: true, since: noon.Add(1 - injectDelay)}}}, keep},
		"and then made ours":                                      {state{memory: a, secret: a, bundles: []bundle{{trustsMemory: true, since: noon.Add(-injectDelay)}}}, inject},

		"cut off, and the caBundle trusts us: restore":     {state{memory: a, cutOff: true, blank: true, bundles: []bundle{ours}}, restore},
		"cut off, and no caBundle: restore":                {state{memory: a, cutOff: true, blank: true, bundles: []bundle{empty}}, restore},
		"cut off, and the caBundle does not trust us":      {state{memory: a, cutOff: true, blank: true, bundles: []bundle{foreign}}, wait},
		"cut off, and nobody knows better":                 {state{memory: a, cutOff: true, secret: a, bundles: []bundle{foreign}, waitSince: waited}, distrust},
		"cut off, and the fleet went on":                   {state{memory: a, cutOff: true, secret: b, bundles: []bundle{agrees}}, adopt},
		"a request":                                        {state{memory: a, secret: a, request: request{ID: "q"}, bundles: []bundle{ours}}, rotate},
		"a request to distrust":                            {state{memory: a, secret: a, request: request{ID: "q", Distrust: true}, bundles: []bundle{ours}}, distrust},
		"a request waits for a caBundle that refuses us":   {state{memory: a, secret: a, request: request{ID: "q"}, bundles: []bundle{foreign}}, inject},
		"a request waits for a Secret that can be written": {state{memory: a, secret: a, request: request{ID: "q"}, secretHeldUntil: held, bundles: []bundle{ours}}, keep},

		"a newer build's Secret that cannot be read is left alone": {state{memory: a, newer: true, bundles: []bundle{ours}}, keep},
		"a newer build is left the first word on a request":        {state{memory: a, secret: a, newer: true, request: request{ID: "q"}, bundles: []bundle{ours}}, wait},
		"and not the second":    {state{memory: a, secret: a, newer: true, request: request{ID: "q"}, bundles: []bundle{ours}, waitSince: waited}, rotate},
		"a newer build injects": {state{memory: a, secret: a, newer: true, bundles: []bundle{{trustsMemory: true, since: noon.Add(-time.Hour)}}}, keep},
	} {
		t.Run(name, func(t *testing.T) {
			if c.s.now.IsZero() {
				c.s.now = noon
			}
			c.s.policy, c.s.format = testPolicy, 1
			got := decide(c.s)
			if got.kind != c.want {
				t.Errorf("%s, want %s", got.kind, c.want)
			}
			if (got.kind == keep || got.kind == wait) && !got.until.After(c.s.now) {
				t.Errorf("%s until %s, which is not later than now: the loop would spin", got.kind, got.until)
			}
		})
	}
}

func TestNextStep(t *testing.T) {
	steady, rotated := summaryOf(1, "", "A"), summaryOf(1, "", "B", "A")
	done := summaryOf(1, "", "A")
	done.record.Request = "q"
	oldLeaf, noLeaf, early := summaryOf(1, "", "B", "A"), summaryOf(1, "", "A"), summaryOf(1, "", "A")
	oldLeaf.leafCreated = noon.Add(-9 * time.Hour)
	noLeaf.leafCreated, noLeaf.leafExpires = time.Time{}, time.Time{}
	early.trusted[0].created = noon.Add(2 * time.Hour)
	for name, c := range map[string]struct {
		memory *summary
		ask    request
		now    time.Duration
		want   kind
		due    time.Duration
	}{
		"a leaf is renewed at two thirds of its life":     {steady, request{}, time.Hour, renew, 8 * time.Hour},
		"the old CA is retired after the overlap":         {rotated, request{}, time.Hour, retire, 2 * time.Hour},
		"a renewal that is due comes before a retirement": {oldLeaf, request{}, 2 * time.Hour, renew, -time.Hour},
		"a CA is replaced at two thirds of its life":      {steady, request{}, 20 * time.Hour, rotate, 20 * time.Hour},
		"a lost leaf is made at once":                     {noLeaf, request{}, 0, renew, 0},
		"a CA that is not valid yet is replaced at once":  {early, request{}, 0, rotate, 0},
		"a request":                                            {steady, request{ID: "q"}, time.Hour, rotate, time.Hour},
		"a request that was carried out is over":               {done, request{ID: "q"}, time.Hour, renew, 8 * time.Hour},
		"a distrust that was carried out is over":              {done, request{ID: "q", Distrust: true}, time.Hour, renew, 8 * time.Hour},
		"a distrust does not wait for the end of the overlap":  {rotated, request{ID: "q", Distrust: true}, time.Hour, distrust, time.Hour},
		"another request during a rotation rotates once again": {rotated, request{ID: "q"}, time.Hour, rotate, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			got, due := nextStep(*c.memory, c.ask, testPolicy, noon.Add(c.now))
			if got != c.want || due.After(noon.Add(max(c.now, c.due))) || c.due > c.now && !due.Equal(noon.Add(c.due)) {
				t.Errorf("%s at %s, want %s at %s", got, due.Sub(noon), c.want, c.due)
			}
		})
	}
}

func TestAShorterPolicyReplacesWhatALongerOneMade(t *testing.T) {
	long := summaryOf(1, "", "A")
	long.trusted[0].expires = noon.Add(1000 * time.Hour)
	if step, due := nextStep(*long, request{}, testPolicy, noon.Add(20*time.Hour)); step != rotate || !due.Equal(noon.Add(20*time.Hour)) {
		t.Errorf("%s at %s, want rotate 20h after the CA was made", step, due.Sub(noon))
	}
}

func TestGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		memory, secret *summary
		want           uint32
		outbids        bool
	}{
		"the first":                             {nil, nil, 1, false},
		"one after memory's":                    {summaryOf(5, "", "A"), nil, 6, false},
		"one after the Secret's, if later":      {summaryOf(5, "", "A"), summaryOf(9, "", "B"), 10, false},
		"the Secret's of nobody who remembers":  {nil, summaryOf(9, "", "B"), 10, false},
		"an older Secret does not count":        {summaryOf(5, "", "A"), summaryOf(3, "", "B"), 6, false},
		"the same generation is outbid":         {summaryOf(5, "", "A"), summaryOf(5, "", "B"), 6, true},
		"after the largest comes the first":     {summaryOf(1<<32-1, "", "A"), nil, 1, false},
		"and counts as later":                   {summaryOf(1<<32-1, "", "A"), summaryOf(1, "", "A"), 2, false},
		"a Secret without a record is not late": {summaryOf(1<<31, "", "A"), summaryOf(0, "", "A"), 1<<31 + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := state{format: 1, memory: c.memory, secret: c.secret}
			if got := s.nextGeneration(); got != c.want {
				t.Errorf("next generation %d, want %d", got, c.want)
			}
			if s.memory != nil && s.outbids() != c.outbids {
				t.Errorf("outbids: %v, want %v", s.outbids(), c.outbids)
			}
		})
	}
}

func TestRequestAfterNamesWhatWasCarriedOut(t *testing.T) {
	memory := summaryOf(1, "", "A")
	memory.record.Request = "before"
	for _, c := range []struct {
		ask  request
		step kind
		want string
	}{
		{request{ID: "q"}, rotate, "q"}, {request{ID: "q"}, distrust, "q"}, {request{ID: "q"}, create, "q"},
		{request{ID: "q", Distrust: true}, rotate, "before"}, {request{ID: "q", Distrust: true}, distrust, "q"},
		{request{ID: "q"}, renew, "before"}, {request{ID: "q"}, retire, "before"}, {request{}, rotate, "before"},
	} {
		if got := (state{memory: memory, request: c.ask}).requestAfter(c.step); got != c.want {
			t.Errorf("%s with request %+v: record names %q, want %q", c.step, c.ask, got, c.want)
		}
	}
}

func TestPolicyValidateGivesTheReason(t *testing.T) {
	good := Policy{CADuration: 87600 * time.Hour, CertDuration: 8760 * time.Hour, CAOverlap: 24 * time.Hour, RotationCheck: time.Hour}
	for name, c := range map[string]struct {
		change func(*Policy)
		want   []string
	}{
		"the defaults":                      {func(*Policy) {}, nil},
		"every bound is within":             {func(p *Policy) { *p = Policy{6 * time.Hour, 6 * time.Hour, 2 * time.Hour, time.Hour} }, nil},
		"all zero":                          {func(p *Policy) { *p = Policy{} }, []string{"--ca-duration=0s: must be positive", "--cert-duration=0s", "--ca-overlap=0s", "--rotation-check=0s"}},
		"negative":                          {func(p *Policy) { p.CAOverlap = -time.Hour }, []string{"--ca-overlap=-1h0m0s: must be positive"}},
		"a leaf that outlives its CA":       {func(p *Policy) { p.CADuration = p.CertDuration - 1 }, []string{"--cert-duration=8760h0m0s: must be at most --ca-duration="}},
		"an overlap longer than the rest":   {func(p *Policy) { p.CAOverlap = p.CADuration/3 + 1 }, []string{"--ca-overlap=", "a third of --ca-duration=87600h0m0s"}},
		"checks too rare to renew in time":  {func(p *Policy) { p.RotationCheck = p.CertDuration/6 + 1 }, []string{"--rotation-check=", "must be at most 1460h0m0s"}},
		"everything that is wrong, at once": {func(p *Policy) { p.CAOverlap, p.RotationCheck = p.CADuration, p.CertDuration }, []string{"--ca-overlap=", "--rotation-check="}},
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
