package rotator

import (
	"testing"
	"time"
)

// seenAs lets decide see another state than there is.
func seenAs(change func(*state)) func(*rules) {
	return func(r *rules) {
		r.decide = func(s state) action {
			if s.secret != nil {
				secret := *s.secret
				s.secret = &secret
			}
			change(&s)
			return decide(s)
		}
	}
}

// brokenRules are all that the design rests on, each broken in one way.
// Serving only what the caBundle verifies is not among them: with bridges no Ready
// replica ever has another chain, so that rule is a second line of defence.
var brokenRules = map[string]struct {
	where   exploration
	breakIt func(*rules)
}{
	"an older Secret is followed like a later one": {
		exploration{steady, askDistrust | secretDamage, 2}, seenAs(func(s *state) {
			if s.secret != nil && s.memory != nil && s.secret.digest != s.memory.digest {
				s.secret.record.Generation = s.memory.record.Generation + 1
			}
		})},
	"a later Secret is followed wherever it comes from": {
		exploration{steady, secretDamage, 1}, seenAs(func(s *state) { s.continues = true })},
	"descent is a matter of the CAs alone, not of bridges": {
		exploration{steady, askDistrust, 1}, func(r *rules) { r.descentIgnoresBridges = true }},
	"a replica that starts believes the Secret, whatever the caBundle says": {
		exploration{steady, secretDamage | crash, 2}, seenAs(func(s *state) {
			for i := range s.bundles {
				s.bundles[i].trustsSecret = s.bundles[i].trustsSecret || s.memory == nil
			}
		})},
	"to a replica that starts an empty caBundle agrees": {
		exploration{steady, secretDamage | bundleDamage | crash, 3}, seenAs(func(s *state) {
			for i := range s.bundles {
				if b := &s.bundles[i]; b.empty && s.memory == nil && s.secret != nil {
					b.empty, b.trustsSecret = false, true
				}
			}
		})},
	"a replica that starts leaves its peers no time": {
		exploration{steady, secretDamage | crash, 2}, seenAs(func(s *state) { s.waitSince = s.now.Add(-peerTimeout) })},
	"a replica that was cut off doubts nothing": {
		exploration{leftBehind, secretDamage, 1}, seenAs(func(s *state) { s.cutOff = false })},
	"a generation that is far ahead is damage": {
		exploration{steady, secretDamage | crash, 2}, seenAs(func(s *state) {
			if s.secret != nil && s.memory != nil && int64(s.secret.record.Generation)-int64(s.memory.record.Generation) > 1<<20 {
				s.secret.record.Generation = 0
			}
		})},
	"a Secret without its leaf and its bridges is followed": {
		exploration{steady, askRotate | secretDamage | crash, 3}, seenAs(func(s *state) {
			if s.secret != nil && !s.secret.hasLeaf() {
				s.secret.leafExpires = s.now
			}
		})},
	"a Secret of the same generation is not outbid": {
		exploration{steady, secretDamage | crash, 2}, func(r *rules) { r.outbids = func(state) bool { return false } }},
	"a Secret of a later generation is outbid too": {
		exploration{steady, askDistrust | secretDamage, 2}, func(r *rules) {
			r.outbids = func(s state) bool {
				return s.outbids() || s.secret != nil && s.secret.record.laterThan(s.memory.record)
			}
		}},
	"the record does not say which request was carried out": {
		exploration{steady, askRotate, 1}, func(r *rules) { r.requestAfter = func(state, kind) string { return "" } }},
	"a damaged Secret is a reason for a new CA": {
		exploration{steady, secretDamage, 1}, func(r *rules) {
			r.decide = func(s state) action {
				a := decide(s)
				if a.kind == restore {
					a.kind = create
				}
				return a
			}
		}},
	"a new chain has no bridge": {
		exploration{steady, askRotate, 1}, func(r *rules) { r.bridges = 0 }},
	"a chain has one bridge": {
		exploration{steady, askRotate | askDistrust, 2}, func(r *rules) { r.bridges = 1 }},
	"a chain has two bridges": {
		exploration{steady, askDistrust, 3}, func(r *rules) { r.bridges = 2 }},
	"rotate does not keep the old CA in ca.crt": {
		exploration{steady, askRotate | cutOff, 2}, func(r *rules) { r.dropsOldCA = true }},
	"the caBundle follows the Secret at once": {
		exploration{steady, askDistrust, 1}, seenAs(func(s *state) {
			for i := range s.bundles {
				s.bundles[i].since = s.now.Add(-injectDelay)
			}
		})},
	"injectDelay counts from when the caBundle was first another one": {
		exploration{steady, askRotate | askDistrust, 2}, func(r *rules) { r.keepsStrayed = true }},
	"a change is decided on a cache": {
		exploration{steady, askDistrust | cutOff, 2}, func(r *rules) { r.decidesOnCache = true }},
	"the Secret is read before the configuration": {
		exploration{steady, askDistrust | slowPass, 1}, func(r *rules) { r.readsSecretFirst = true }},
	"the caBundle waits until the Secret can be written": {
		exploration{steady, secretDamage | bundleDamage | refusals, 3}, func(r *rules) {
			r.decide = func(s state) action {
				a := decide(s)
				if s.memory != nil && s.now.Before(s.secretHeldUntil) && (s.secret == nil || s.secret.digest != s.memory.digest) {
					a.kind = keep
				}
				return a
			}
		}},
}

func TestExploreFindsACounterexampleWhen(t *testing.T) {
	for name, c := range brokenRules {
		t.Run(name, func(t *testing.T) {
			skipUnderRace(t)
			t.Parallel()
			begin, r := time.Now(), ourRules()
			// With more events each is a part of one in TestExplore.
			if c.where.left < 3 && explore(c.where, r).problem != "" {
				t.Fatalf("with this rule there is a counterexample, too:\n%s", explore(c.where, r).problem)
			}
			c.breakIt(&r)
			found := explore(c.where, r)
			if found.problem == "" {
				t.Fatalf("no counterexample in %d states: the rule is needless, or the exploration too small", found.states)
			}
			t.Logf("%d states in %.1f s, then:\n%s", found.states, time.Since(begin).Seconds(), found.problem)
		})
	}
}
