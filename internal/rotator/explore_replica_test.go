package rotator

import (
	"slices"
	"strconv"
)

// What a replica does: loop.go, issuer.go and serving.go in miniature, around the
// real decide, nextStep, nextGeneration and requestAfter.

// observed is what a replica has read of the cluster.
type observed struct {
	secret, bundle uint16
	request        uint8
}

func (s *modelState) live() observed { return observed{s.secret, s.bundle, s.request} }

// question is all that decide's answer depends on.
type question struct {
	memory                 uint16
	today                  uint8
	seen                   observed
	waiting, mismatched    clock
	cutOff                 bool
	heldSecret, heldConfig bool
}

func (m *model) state(q question) state {
	now := dayAt(q.today)
	s := state{now: now, format: 1, policy: explorePolicy, cutOff: q.cutOff, memory: m.summary(q.memory)}
	s.secret, s.blank = m.summary(q.seen.secret), q.seen.secret <= blank
	s.request = request{ID: requestID(q.seen.request), Distrust: q.seen.request%2 == 0}
	b := bundle{empty: q.seen.bundle == emptyBundle, since: now}
	if trusted := m.bundles.values[q.seen.bundle]; !b.empty {
		b.trustsMemory, b.trustsSecret = m.certifiedBy(q.memory, trusted), m.certifiedBy(q.seen.secret, trusted)
	}
	if s.memory != nil {
		s.continues = m.certifiedBy(q.seen.secret, caBundle(m.contents.values[q.memory].trusted))
		b.matches = q.seen.bundle == m.bundleOf(q.memory)
	}
	switch {
	case b.matches:
		b.since = b.since.Add(-day) // mismatched has no entry; nobody looks
	case q.mismatched == over:
		b.since = now.Add(-injectDelay)
	}
	switch q.waiting {
	case running:
		s.waitSince = now
	case over:
		s.waitSince = now.Add(-peerTimeout)
	}
	if q.heldSecret {
		s.secretHeldUntil = now.Add(writeRetryFirst)
	}
	if q.heldConfig {
		b.heldUntil = now.Add(writeRetryFirst)
	}
	s.bundles = []bundle{b}
	return s
}

// ask is Rotator.state and decide.
func (m *model) ask(r *member, seen observed, today uint8) kind {
	switch matches := r.memory != 0 && seen.bundle == m.bundleOf(r.memory); {
	case matches:
		r.mismatched = stopped
	case r.mismatched == stopped:
		r.mismatched = running
	}
	q := question{r.memory, today, seen, r.waiting, r.mismatched, r.cutOff, r.heldSecret, r.heldConfig}
	k, known := m.decisions[q]
	if !known {
		k = m.decide(m.state(q)).kind
		m.decisions[q] = k
	}
	return k
}

// askLive is the part of reconcile that follows a live look.
func (m *model) askLive(r *member, seen observed, today uint8) kind {
	r.cutOff, r.silent = r.cutOff || r.silent && r.memory != 0, false
	k := m.ask(r, seen, today)
	r.cutOff = r.cutOff && seen.bundle != emptyBundle && r.memory != 0 && !m.certifiedBy(r.memory, m.bundles.values[seen.bundle])
	return k
}

// outcome says what becomes of a write.
type outcome struct{ secretConflicts, bundleConflicts, answerLost bool }

// finish is carryOut and serveAndCheck.
func (m *model) finish(s *modelState, i int, k kind, seen observed, o outcome) {
	r := &s.replicas[i]
	slow := r.pass.stage > 0
	r.pass = pass{}
	if k == wait {
		r.waiting = max(r.waiting, running)
	} else {
		r.waiting = stopped
	}
	switch {
	case k == adopt:
		m.remember(r, seen.secret)
		r.excused = r.excused || m.isDistrusted(s, seen.secret) // a copy from before was put back
	case k == inject && s.refusesConf:
		r.heldConfig = true
	case k == inject && !o.bundleConflicts:
		s.relapsed = !s.bundleDamaged && (slow || !r.excused) && !m.isDistrusted(s, s.secret) && m.trustsDistrusted(s, m.bundleOf(r.memory)) && !m.trustsDistrusted(s, s.bundle)
		m.putBundle(s, m.bundleOf(r.memory), false)
		r.heldConfig = o.answerLost
	case k.writesSecret() && s.refusesSecret:
		r.heldSecret = true
	case k.writesSecret() && !o.secretConflicts:
		m.writeSecret(s, r, k, seen)
		r.heldSecret = o.answerLost
		if !o.answerLost {
			m.remember(r, s.secret)
		}
	}
	if r.memory == 0 {
		return
	}
	candidate := m.contents.values[r.memory].chain
	if candidate != 0 && (m.verifies(seen.bundle, candidate, s.today) || m.servesUnverified) {
		r.serving = candidate
	}
	trusted := m.verifies(s.bundle, r.serving, s.today)
	r.ready = r.ready || trusted
	r.excused = r.excused && !(trusted && m.upToDate(s, r))
}

func (m *model) trustsDistrusted(s *modelState, bundle uint16) bool {
	return slices.ContainsFunc(m.bundles.values[bundle][:], func(id uint16) bool { return id != 0 && s.distrusted&m.bit(id) != 0 })
}

func (m *model) remember(r *member, id uint16) {
	r.memory, r.cutOff = id, false
	if !m.keepsStrayed {
		r.mismatched = stopped
	}
}

// writeSecret is Rotator.writeSecret and cluster.updateSecret.
func (m *model) writeSecret(s *modelState, r *member, k kind, seen observed) {
	next, request := m.after(s, r, k, seen), seen.request
	if request == m.contents.values[next].request {
		request = 0
	}
	m.putSecret(s, next, request)
	if k == distrust || k == retire || k == create {
		for i := range s.replicas {
			s.replicas[i].excused = s.replicas[i].excused || s.replicas[i].offline
		}
	}
	remembered := slices.ContainsFunc(s.replicas[:], func(r member) bool { return r.memory != 0 && !r.offline && !r.excused && !r.silent })
	if (k == create || k == distrust && r.excused) && !remembered { // every key is lost: whoever trusts another CA has to receive the new one first
		s.bundleDamaged, s.viewDamaged = true, true
	}
}

// after is issuer.after: it numbers the content that follows what r remembers.
func (m *model) after(s *modelState, r *member, k kind, seen observed) uint16 {
	st := m.state(question{memory: r.memory, today: s.today, seen: seen})
	var c content
	if r.memory != 0 {
		c = m.contents.values[r.memory]
	}
	if k == create {
		c = content{}
	}
	old := m.chains.values[c.chain]
	next := content{trusted: c.trusted, chain: c.chain, generation: m.nextGeneration(st)}
	if id := m.requestAfter(st, k); id != "" {
		n, _ := strconv.Atoi(id)
		next.request = uint8(n)
	}
	valid := func(id uint16) bool { return id != 0 && dayAt(s.today).Before(m.expires(id)) }
	var first, bridges [][2]uint16 // first is sent even if its issuer has ended
	s.made++
	switch k {
	case restore:
		if !m.outbids(st) {
			return r.memory // byte for byte
		}
		return m.contents.number(next)
	case retire:
		next.trusted = caBundle{c.trusted[0]}
		return m.contents.number(next)
	case renew:
		bridges = old.bridges[:]
	default:
		fresh := m.cas.number(modelCA{int16(s.made), s.today})
		bridges = old.bridges[:]
		first = append(first, [2]uint16{fresh, c.trusted[0]})
		next.trusted = caBundle{fresh}
		if k == rotate && !m.dropsOldCA {
			trusted := slices.DeleteFunc(slices.Clone(c.trusted[:]), func(id uint16) bool { return !valid(id) })
			copy(next.trusted[1:], trusted)
		}
		if k == distrust {
			for _, id := range c.trusted {
				s.distrusted |= m.bit(id) &^ m.bit(0)
			}
		}
	}
	leaf := chain{signer: next.trusted[0], serial: int16(s.made), born: s.today}
	bridges = slices.DeleteFunc(slices.Clone(bridges), func(b [2]uint16) bool { return !valid(b[0]) || !valid(b[1]) })
	if len(first) > 0 && first[0][1] != 0 {
		bridges = append(first, bridges...)
	}
	copy(leaf.bridges[:], bridges[:min(len(bridges), m.bridges)])
	next.chain = m.chains.number(leaf)
	return m.contents.number(next)
}

func (m *model) putSecret(s *modelState, id uint16, request uint8) {
	if s.secret == id && s.request == request {
		return // an update that changes nothing is none
	}
	if s.secret != id {
		s.lastSecret, s.secret, s.secretLags = s.secret, id, true
	}
	s.request = request
	for i := range s.replicas {
		if s.secretLags { // its content changed
			s.replicas[i].waiting = min(s.replicas[i].waiting, running)
		}
		s.replicas[i].pass.secretMoved = s.replicas[i].pass.hasSecret
	}
}

func (m *model) putBundle(s *modelState, id uint16, damage bool) {
	if s.bundle != id {
		s.lastBundle, s.bundle, s.bundleLags = s.bundle, id, true
		for i := range s.replicas {
			s.replicas[i].pass.bundleMoved = s.replicas[i].pass.hasBundle
		}
	}
	s.bundleDamaged = s.bundleDamaged || damage // until 300 ms pass
}

// passes does a whole pass on a live look.
func (m *model) passes(s *modelState, i int, o outcome) {
	k := m.askLive(&s.replicas[i], s.live(), s.today)
	m.finish(s, i, k, s.live(), o)
}

// passesOnCache does a pass on what a cache holds that lags.
func (m *model) passesOnCache(s *modelState, i int, cached observed) {
	r := &s.replicas[i]
	if r.memory == 0 {
		return // it would have looked live
	}
	k := m.ask(r, cached, s.today)
	switch {
	case k == keep || m.decidesOnCache:
		m.finish(s, i, k, cached, outcome{secretConflicts: cached.secret != s.secret, bundleConflicts: cached.bundle != s.bundle})
	default:
		m.passes(s, i, outcome{})
	}
}

// upToDate reports whether r remembers and serves what the Secret holds, and no
// copy from before a distrust.
func (m *model) upToDate(s *modelState, r *member) bool {
	return r.memory != 0 && r.memory == s.secret && r.serving == m.contents.values[s.secret].chain &&
		!m.isDistrusted(s, s.secret)
}

func (m *model) isDistrusted(s *modelState, secret uint16) bool {
	return m.trustsDistrusted(s, m.bundleOf(secret))
}
