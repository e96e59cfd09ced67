package rotator

import (
	"math"
	"slices"
)

// event is a kind of thing that happens to the fleet from outside; each takes one
// of the events that an exploration has left.
type event uint16

const (
	secretDamage event = 1 << iota
	bundleDamage
	crash
	cutOff
	askRotate
	askDistrust
	lostAnswer
	refusals // of writes, for a while
	nextDay
	switchedOff // the whole cluster, for days
	slowPass    // one replica at a time reads and writes with anything between
)

// transition is one action; replica is none for what is not done by one.
type transition struct {
	replica int8
	name    string
	outside bool // nobody may count on it
}

const none = int8(-1)

// successors yields every state that may come next.
func (m *model) successors(s modelState, yield func(transition, modelState)) {
	for i := range s.replicas {
		m.replicaActions(s, i, func(name string, next modelState) { yield(transition{int8(i), name, false}, next) })
	}
	m.time(s, func(name string, next modelState) { yield(transition{none, name, false}, next) })
	if s.view != s.bundle || s.viewDamaged != s.bundleDamaged {
		next := s
		next.view, next.viewDamaged = s.bundle, s.bundleDamaged
		yield(transition{none, "the apiserver that lags catches up with the caBundle", false}, next)
	}
	if s.refusesSecret || s.refusesConf {
		next := s
		next.refusesSecret, next.refusesConf = false, false
		yield(transition{none, "the apiserver accepts writes again", true}, next)
	}
	for i, r := range s.replicas {
		if r.offline {
			next := s
			next.replicas[i].offline = false
			yield(transition{int8(i), "reaches the apiserver again", true}, next)
		}
	}
	if s.left > 0 {
		s.left--
		m.outside(s, yield)
	}
}

func (m *model) replicaActions(s modelState, i int, yield func(string, modelState)) {
	r := s.replicas[i]
	if r.offline {
		return
	}
	act := func(name string, change func(*modelState)) {
		next := s
		change(&next)
		yield(name, next)
	}
	switch r.pass.stage {
	case 1:
		act("reads the other object, slowly, and decides", func(s *modelState) {
			r := &s.replicas[i]
			p := &r.pass
			if !p.hasBundle {
				p.bundle, p.hasBundle = s.bundle, true
			}
			if !p.hasSecret {
				p.secret, p.request, p.hasSecret = s.secret, s.request, true
			}
			seen := observed{p.secret, p.bundle, p.request}
			k := m.askLive(r, seen, s.today)
			if k != inject && !k.writesSecret() {
				m.finish(s, i, k, seen, outcome{})
				return
			}
			r.pass.stage = 2
			for n, kind := range writeKinds {
				if kind == k {
					r.pass.writes = writeKind(n)
				}
			}
		})
		return
	case 2:
		act("writes what it decided: "+string(writeKinds[r.pass.writes]), func(s *modelState) {
			p := r.pass
			m.finish(s, i, writeKinds[p.writes], observed{p.secret, p.bundle, p.request}, outcome{p.secretMoved, p.bundleMoved, false})
		})
		return
	}
	act("makes a pass", func(s *modelState) { m.passes(s, i, outcome{}) })
	for _, lag := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		if lag[0] && !s.secretLags || lag[1] && !s.bundleLags {
			continue
		}
		cached := s.live()
		if lag[0] {
			cached.secret = s.lastSecret
		}
		if lag[1] {
			cached.bundle = s.lastBundle
		}
		act("makes a pass on a cache that lags", func(s *modelState) { m.passesOnCache(s, i, cached) })
	}
	if m.events&slowPass != 0 && !s.underWay() {
		if m.readsSecretFirst {
			act("reads the Secret, slowly", func(s *modelState) {
				s.replicas[i].pass = pass{stage: 1, secret: s.secret, request: s.request, hasSecret: true}
			})
		} else {
			act("reads the configuration, slowly", func(s *modelState) {
				s.replicas[i].pass = pass{stage: 1, bundle: s.bundle, hasBundle: true}
			})
		}
	}
}

// underWay reports whether a slow pass is.
func (s *modelState) underWay() bool {
	return s.replicas[0].pass.stage+s.replicas[1].pass.stage+s.replicas[2].pass.stage > 0
}

// idle reports whether a pass of every replica that reaches the apiserver would
// change nothing: time passes only then, for a pass takes milliseconds and the
// timers are longer. A replica that is slower than that is offline for a moment.
func (m *model) idle(s modelState) bool {
	for i, r := range s.replicas {
		if r.offline || r.pass.stage > 0 {
			continue
		}
		next := s
		if m.passes(&next, i, outcome{}); next != s {
			return false
		}
	}
	return true
}

// time lets timers run out.
func (m *model) time(s modelState, yield func(string, modelState)) {
	if !m.idle(s) {
		return
	}
	next := s
	for i := range next.replicas {
		r := &next.replicas[i]
		if r.mismatched == running {
			r.mismatched = over
		}
		r.heldSecret, r.heldConfig = false, false
		r.excused = r.excused || r.pass.stage > 0 && !m.upToDate(&s, r)
	}
	if b := next.bundle; b != emptyBundle && b != m.foreignBundle() { // repaired
		next.bundleDamaged, next.viewDamaged = false, next.viewDamaged && next.view != b
	}
	if next != s {
		yield("a second passes", next)
	}
	held := slices.ContainsFunc(s.replicas[:], func(r member) bool { return r.heldSecret || r.heldConfig })
	if s.underWay() || held && !s.refusesSecret && !s.refusesConf { // a hold is shorter
		return
	}
	next.secretLags, next.bundleLags = false, false
	for i := range next.replicas {
		r := &next.replicas[i]
		if r.waiting == running {
			r.waiting = over
		}
		r.silent = r.silent || r.offline // after a minute in truth
	}
	if next != s {
		yield("5 s pass", next)
	}
	if s.left > 0 && m.events&nextDay != 0 && (next == s || s.refusesSecret || s.refusesConf) {
		next.left--
		next.today++
		next.view, next.viewDamaged = s.bundle, s.bundleDamaged
		for i := range next.replicas {
			next.replicas[i].excused = next.replicas[i].excused || next.replicas[i].offline
		}
		yield("a day passes (an apiserver lags for less)", next)
	}
}

// outside yields what others do.
func (m *model) outside(s modelState, yield func(transition, modelState)) {
	act := func(e event, replica int, name string, change func(*modelState)) {
		if m.events&e == 0 {
			return
		}
		next := s
		change(&next)
		yield(transition{int8(replica), name, true}, next)
	}
	m.damages(s, act)
	for i, r := range s.replicas {
		restart := func(s *modelState) { s.replicas[i] = member{offline: r.offline} }
		act(crash, i, "crashes and starts again", restart)
		if !r.offline && r.pass.stage == 0 {
			act(cutOff, i, "is cut off from the apiserver", func(s *modelState) {
				r := &s.replicas[i]
				r.offline, r.excused = true, r.excused || s.distrusted != 0 && !m.upToDate(s, r)
			})
			if k := m.askLive(new(s.replicas[i]), s.live(), s.today); k == inject || k.writesSecret() {
				act(lostAnswer, i, "makes a pass; its write succeeds and the answer is lost",
					func(s *modelState) { m.passes(s, i, outcome{answerLost: true}) })
			}
		}
	}
	if s.secret != missing && s.requests < 2*maxBridges { // more in a moment than bridges are sent are not promised
		ask := func(s *modelState, odd uint8) {
			s.requests += 2
			m.putSecret(s, s.secret, s.requests|odd)
		}
		act(askRotate, -1, "sts-webhook rotate", func(s *modelState) { ask(s, 1) })
		act(askDistrust, -1, "sts-webhook rotate --distrust-now", func(s *modelState) { ask(s, 0) })
	}
	if !s.refusesSecret && !s.refusesConf {
		act(refusals, -1, "writes of the Secret are refused from now on", func(s *modelState) { s.refusesSecret = true })
		act(refusals, -1, "writes of the configuration are refused from now on", func(s *modelState) { s.refusesConf = true })
		act(refusals, -1, "all writes are refused from now on", func(s *modelState) { s.refusesSecret, s.refusesConf = true, true })
	}
	for _, days := range []uint8{0, 1, 2, 4} {
		act(switchedOff, -1, "the cluster is switched off for "+string('0'+rune(days))+" days and on again", func(s *modelState) {
			s.today += days
			s.view, s.viewDamaged, s.secretLags, s.bundleLags = s.bundle, s.bundleDamaged, false, false
			s.replicas = [members]member{}
		})
	}
}

// damages yields what others write into the Secret and the caBundle.
func (m *model) damages(s modelState, act func(event, int, string, func(*modelState))) {
	// Where both objects are empty a replica that starts takes the cluster for a new
	// one, and makes a CA although a peer may remember another: that is not explored.
	nothing := func(secret, bundle uint16) bool { return secret <= blank && bundle == emptyBundle }
	secret := func(name string, id uint16) {
		if id != s.secret && !nothing(id, s.bundle) {
			act(secretDamage, -1, name, func(s *modelState) { m.putSecret(s, id, s.request) })
		}
	}
	if m.first != 0 && s.requests < 2*maxBridges {
		act(secretDamage, -1, "the first copy of the Secret is put back, with the request that it carried", func(s *modelState) {
			s.requests += 2
			m.putSecret(s, m.first, 1)
		})
	}
	if s.secret != missing {
		if !nothing(missing, s.bundle) {
			act(secretDamage, -1, "the Secret is deleted", func(s *modelState) { m.putSecret(s, missing, 0) })
		}
		secret("the Secret is emptied", blank)
		secret("the Secret is damaged", damaged)
	}
	other := m.foreign(2)
	other.generation = 9
	secret("another cluster's whole Secret, with a later record, is copied over", m.contents.number(other))
	for i, copied := range []uint16{m.first, s.lastSecret} {
		name := [...]string{"the first copy of the Secret is put back", "the previous copy of the Secret is put back"}[i]
		if copied < firstContent || i == 1 && copied == m.first {
			continue
		}
		secret(name, copied)
		c := m.contents.values[copied]
		c.generation, c.request = 0, 0
		secret(name+" without its record", m.contents.number(c))
	}
	if s.secret >= firstContent {
		c := m.contents.values[s.secret]
		change := func(name string, edit func(*content)) {
			c := c
			edit(&c)
			secret(name, m.contents.number(c))
		}
		change("a foreign CA replaces the Secret's data under our record", func(c *content) {
			f := m.foreign(1)
			c.trusted, c.chain = f.trusted, f.chain
		})
		change("the record is wiped", func(c *content) { c.generation, c.request = 0, 0 })
		change("one field of the record is changed", func(c *content) { c.changed = true })
		change("the record's request is lost", func(c *content) { c.request = 0 })
		change("the record's generation is one later", func(c *content) { c.generation++ })
		change("the record's generation is far ahead", func(c *content) { c.generation = 1 << 30 })
		change("the record's generation is as large as can be", func(c *content) { c.generation = math.MaxUint32 })
		change("tls.key is lost", func(c *content) { c.chain = 0 })
	}
	configuration := func(name string, id uint16, damage bool) {
		if id != s.bundle && !nothing(s.secret, id) {
			act(bundleDamage, -1, name, func(s *modelState) { m.putBundle(s, id, damage) })
		}
	}
	foreign := m.foreignBundle()
	configuration("the caBundle is emptied", emptyBundle, true)
	configuration("a foreign caBundle is written", foreign, true)
	if m.first != 0 {
		configuration("the first caBundle is put back", m.bundleOf(m.first), !m.alive(m.bundleOf(m.first), s.today))
	}
	configuration("the previous caBundle is put back", s.lastBundle, s.lastBundle == emptyBundle || s.lastBundle == foreign || m.first == 0 || !m.alive(s.lastBundle, s.today))
}

// foreign is the Secret of another cluster.
func (m *model) foreign(n int16) content {
	id := m.cas.number(modelCA{outsider + n, 0})
	return content{trusted: caBundle{id}, chain: m.chains.number(chain{signer: id, serial: outsider + n})}
}

// foreignBundle is of yet another cluster: where both objects are one other
// cluster's, it is right by design to follow them.
func (m *model) foreignBundle() uint16 { return m.bundleOf(m.contents.number(m.foreign(3))) }
