package rotator

import (
	"testing"
	"time"
)

// rules are what an exploration goes by; the broken ones replace a part.
type rules struct {
	decide         func(state) action
	nextGeneration func(state) uint32
	requestAfter   func(state, kind) string
	outbids        func(state) bool
	bridges        int // at most, in a chain
	// What the loop and the issuer do not do.
	servesUnverified, dropsOldCA, decidesOnCache, readsSecretFirst, keepsStrayed, descentIgnoresBridges bool
}

func ourRules() rules {
	return rules{decide: decide, nextGeneration: state.nextGeneration, requestAfter: state.requestAfter, outbids: state.outbids, bridges: maxBridges}
}

// steady is a fleet that remembers and serves one CA.
func steady(m *model) modelState {
	m.first = m.contents.number(content{})
	ca := m.cas.number(modelCA{0, 0})
	m.contents.values[m.first] = content{trusted: caBundle{ca}, generation: 1, chain: m.chains.number(chain{signer: ca})}
	m.contents.index = map[content]uint16{m.contents.values[m.first]: m.first}
	s := modelState{secret: m.first, bundle: m.bundleOf(m.first), view: m.bundleOf(m.first)}
	s.lastSecret, s.lastBundle = s.secret, s.bundle
	for i := range s.replicas {
		s.replicas[i] = member{memory: m.first, serving: m.contents.values[m.first].chain, ready: true}
	}
	return s
}

// firstBoot is a cluster in which nothing is yet.
func firstBoot(m *model) modelState {
	m.bundles.values[emptyBundle] = caBundle{}
	return modelState{viewDamaged: true, bundleDamaged: true}
}

// leftBehind is a fleet of which one replica was cut off when another distrusted
// the first CA; the others have just started again.
func leftBehind(m *model) modelState {
	s := steady(m)
	r := &s.replicas[0]
	r.offline, r.silent, r.excused = true, true, true
	s.request = 2
	s.replicas[1].memory = m.first
	m.passes(&s, 1, outcome{})
	s.replicas[1].mismatched = over
	m.passes(&s, 1, outcome{})
	s.view = s.bundle
	s.replicas[1], s.replicas[2] = member{}, member{}
	return s
}

func TestExplore(t *testing.T) {
	for name, e := range map[string]exploration{
		"damage":                        {steady, secretDamage | bundleDamage | lostAnswer, 2},
		"damage and restarts":           {steady, secretDamage | bundleDamage | crash, 3},
		"damage during a rotation":      {steady, askRotate | secretDamage | crash, 3},
		"damage during a distrust":      {steady, askRotate | askDistrust | secretDamage | bundleDamage | lostAnswer | crash, 2},
		"rotations and distrusts":       {steady, askRotate | askDistrust | lostAnswer | cutOff, 3},
		"slow passes":                   {steady, askRotate | askDistrust | slowPass | bundleDamage, 2},
		"slow passes and damage":        {steady, askRotate | slowPass | bundleDamage | secretDamage, 2},
		"cut off and restarted":         {steady, crash | cutOff | askDistrust | askRotate, 3},
		"cut off, restarted and damage": {steady, crash | cutOff | secretDamage, 3},
		"left behind by a distrust":     {leftBehind, secretDamage | bundleDamage, 1},
		"refused writes and damage":     {steady, refusals | secretDamage | bundleDamage, 3},
		"refused writes and requests":   {steady, refusals | askRotate | askDistrust | lostAnswer | bundleDamage, 2},
		"refused writes and restarts":   {steady, refusals | askDistrust | crash | cutOff, 3},
		"a week":                        {steady, nextDay, 7},
		"days with requests":            {steady, askRotate | askDistrust | nextDay | cutOff | crash, 3},
		"days with refused writes":      {steady, nextDay | refusals, 5},
		"switched off":                  {steady, askRotate | askDistrust | nextDay | switchedOff | bundleDamage, 2},
		"the first boot":                {firstBoot, slowPass | crash | lostAnswer | cutOff, 2},
		"damage during the first boot":  {firstBoot, secretDamage | bundleDamage, 1},
	} {
		t.Run(name, func(t *testing.T) {
			skipUnderRace(t)
			t.Parallel()
			begin := time.Now()
			r := explore(e, ourRules())
			t.Logf("%d states in %.1f s", r.states, time.Since(begin).Seconds())
			if r.problem != "" {
				t.Errorf("counterexample:\n%s", r.problem)
			}
		})
	}
}

// skipUnderRace keeps the exploration, which has one goroutine, out of the way of
// the race detector; "make test" runs it without.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("NOT RUN under the race detector, which makes it ten times slower; make test runs it without")
	}
}
