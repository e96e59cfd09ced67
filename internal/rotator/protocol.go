package rotator

import (
	"slices"
	"time"
)

// kind is what a replica does next.
type kind string

const (
	keep  kind = "keep"  // nothing, until something changes or falls due
	wait  kind = "wait"  // nothing yet: a replica that knows more may act
	adopt kind = "adopt" // remember what the Secret holds

	// Writes of the Secret.
	restore  kind = "restore"  // what is remembered
	create   kind = "create"   // the first CA, or the first that anybody remembers
	rotate   kind = "rotate"   // a new CA; those before it stay trusted
	distrust kind = "distrust" // a new CA, trusted alone
	retire   kind = "retire"   // trust the signing CA alone
	renew    kind = "renew"    // the serving certificate

	// inject writes the caBundle of one webhook configuration.
	inject kind = "inject"
)

const (
	// peerTimeout is how long a replica leaves a write to others that may know
	// better. They act within milliseconds of a watch event; on a machine short
	// of CPU it was seen to take more than two seconds.
	peerTimeout = 5 * time.Second
	// injectDelay is how long a caBundle that still verifies us stays as it is, so
	// that every replica serves the new chain before an old CA goes.
	injectDelay = 400 * time.Millisecond
)

// ca is what the protocol needs to know of one certificate authority.
type ca struct {
	id               string // SHA-256 of the certificate, hex
	created, expires time.Time
}

// summary is what the protocol needs to know of a Secret's content. It holds no
// keys, so that the protocol can be explored without cryptography.
type summary struct {
	trusted                  []ca // the CAs of ca.crt; the first one signs
	leafCreated, leafExpires time.Time
	record                   record
	digest                   string // of every byte that is ours, the record's included
}

// hasLeaf reports whether the serving certificate is there; if it is not, the
// bridges are lost too.
func (k *summary) hasLeaf() bool { return !k.leafExpires.IsZero() }

// bundle is what one entry of a webhook configuration that calls our Service
// holds, compared with memory and Secret.
type bundle struct {
	config       int       // its configuration, an index
	empty        bool      // no certificate in it
	matches      bool      // it is memory's ca.crt
	trustsMemory bool      // it verifies what memory's CA signs, directly or by a bridge
	trustsSecret bool      // the same for the Secret's CA
	since        time.Time // since when a caBundle of this configuration does not match memory as it is
	heldUntil    time.Time // a write of the configuration failed: none before this time
}

// state is everything that decide looks at.
type state struct {
	now    time.Time // the apiserver's time
	policy Policy
	format int      // of the records that this build writes
	memory *summary // what this replica serves and defends; nil: nothing yet
	// cutOff: this replica has not heard from the apiserver for a while, and has
	// not seen since that the fleet still is where it left it.
	cutOff bool

	secret          *summary // nil: missing or damaged
	blank           bool     // there is no Secret, or no data in it
	newer           bool     // a build with a higher format number wrote the Secret's record
	continues       bool     // memory's CAs have signed the Secret's, directly or by bridges
	request         request
	secretHeldUntil time.Time // a write of the Secret failed: none before this time

	bundles   []bundle  // of the first configuration
	followers []bundle  // of the others
	waitSince time.Time // since when decide has been answering wait; zero: it has not
}

// action is what to do next.
type action struct {
	kind   kind
	config int       // of inject
	until  time.Time // of keep and wait: when to look again though nothing changes
}

// decide is the protocol: the one place where it is settled what a replica does.
func decide(s state) action {
	if s.newer && s.secret == nil && !s.blank {
		return action{kind: keep, until: s.now.Add(peerTimeout)} // not ours to read, so not ours to repair
	}
	if s.memory == nil || s.doubtful() {
		return s.backOff(s.decideWithoutMemory())
	}
	switch {
	case s.secret != nil && s.secret.digest == s.memory.digest:
		return s.maintain()
	case s.superseded():
		return action{kind: adopt}
	}
	if a := s.backOff(s.afterNewer(restore)); a.kind != keep {
		return a
	}
	// The Secret cannot be written at the moment; the caBundle perhaps can.
	if a, urgent := s.injectUrgent(); urgent {
		return a
	}
	return action{kind: keep, until: s.secretHeldUntil}
}

// doubtful reports whether what this replica remembers may have been distrusted
// behind its back: it was cut off, and a caBundle does not trust it.
func (s state) doubtful() bool {
	return s.cutOff && slices.ContainsFunc(s.bundles, func(b bundle) bool { return !b.empty && !b.trustsMemory })
}

// decideWithoutMemory never believes a Secret that the caBundle does not agree
// with: a replica that starts beside a damaged Secret would defend the damage
// against those that are about to repair it.
func (s state) decideWithoutMemory() action {
	empty := !slices.ContainsFunc(s.bundles, func(b bundle) bool { return !b.empty })
	switch {
	case s.secret != nil && s.bundlesAgree() && (s.secret.hasLeaf() || s.waited()):
		return action{kind: adopt}
	case s.memory == nil && s.blank && empty:
		return action{kind: create}
	case !s.waited():
		return s.wait()
	case s.secret != nil && empty:
		return action{kind: adopt}
	case s.memory != nil:
		return action{kind: distrust} // it may have been distrusted, so it only vouches for the next
	}
	// Nobody remembers, and the caBundle names another CA: the one in the
	// Secret may have been distrusted.
	return action{kind: create}
}

// bundlesAgree reports whether the webhook configurations are the Secret's.
func (s state) bundlesAgree() bool {
	agree := false
	for _, b := range s.bundles {
		if !b.empty && !b.trustsSecret {
			return false
		}
		agree = agree || !b.empty
	}
	return agree
}

// superseded reports whether the Secret is a later state of what we remember. A CA
// that has ended is not defended: nobody verifies by it, and its bridge is gone
// after one more step.
func (s state) superseded() bool {
	return s.secret != nil && (s.secret.hasLeaf() || !s.memory.hasLeaf()) && s.secret.record.laterThan(s.memory.record) &&
		(s.continues || s.bundlesAgree() || !s.now.Before(s.memory.trusted[0].expires))
}

// maintain decides while the Secret is what we remember.
func (s state) maintain() action {
	if a, urgent := s.injectUrgent(); urgent {
		return a
	}
	step, due := nextStep(*s.memory, s.request, s.policy, s.now)
	a := action{kind: keep, until: due}
	if !s.now.Before(due) {
		if a = s.backOff(s.afterNewer(step)); a.kind != keep {
			return a
		}
	}
	for _, b := range slices.Concat(s.bundles, s.followers) {
		if b.matches || s.newer {
			continue
		}
		ready := later(b.since.Add(injectDelay), b.heldUntil)
		if !s.now.Before(ready) {
			return action{kind: inject, config: b.config}
		}
		a.until = earlier(a.until, ready)
	}
	return a
}

// injectUrgent repairs a caBundle that refuses us.
func (s state) injectUrgent() (action, bool) {
	for _, b := range s.bundles {
		if b.trustsMemory || s.now.Before(b.heldUntil) || s.newer && s.now.Before(b.since.Add(peerTimeout)) {
			continue
		}
		return action{kind: inject, config: b.config}, true
	}
	return action{}, false
}

// nextStep is the next write of the Secret in the ordinary life of m, and when it is due.
func nextStep(m summary, q request, p Policy, now time.Time) (kind, time.Time) {
	signer := m.trusted[0]
	if q.ID != "" && q.ID != m.record.Request {
		if q.Distrust {
			return distrust, now
		}
		return rotate, now
	}
	next, due := rotate, replaceAt(signer.created, signer.expires, p.CADuration, now)
	sooner := func(k kind, at time.Time) {
		if now.Before(due) && at.Before(due) {
			next, due = k, at
		}
	}
	sooner(renew, replaceAt(m.leafCreated, m.leafExpires, p.CertDuration, now))
	if len(m.trusted) > 1 {
		sooner(retire, signer.created.Add(p.CAOverlap))
	}
	return next, due
}

// replaceAt is when a certificate is to be replaced: at two thirds of its life, or
// of the life that one made now would have, if that is shorter; at once when it
// is not valid yet, as a wrong clock of an apiserver once made it.
func replaceAt(created, expires time.Time, life time.Duration, now time.Time) time.Time {
	if now.Before(created.Add(-backdate)) {
		return now
	}
	return created.Add(min(expires.Sub(created), life) * 2 / 3)
}

// afterNewer leaves a write to replicas of a newer build, if there are any.
func (s state) afterNewer(k kind) action {
	if (s.newer || s.memory.record.tooNew(s.format) != nil) && !s.waited() {
		return s.wait()
	}
	return action{kind: k}
}

// backOff turns a write of the Secret into keep while writes of it fail.
func (s state) backOff(a action) action {
	if a.kind.writesSecret() && s.now.Before(s.secretHeldUntil) {
		return action{kind: keep, until: s.secretHeldUntil}
	}
	return a
}

// nextGeneration numbers the state that a write of new content makes: later than
// what is remembered and than what stands in the Secret.
func (s state) nextGeneration() uint32 {
	var last record
	for _, k := range []*summary{s.memory, s.secret} {
		if k != nil && k.record.laterThan(last) {
			last = k.record
		}
	}
	return max(1, last.Generation+1) // 0 is no generation
}

// outbids reports whether a restoration needs a generation of its own: the Secret
// claims to be exactly as new as memory. Two replicas that took different steps
// from the same state, because an older copy was put back between, would otherwise
// overwrite each other for ever. A Secret that claims to be later is not outbid:
// a peer may hold what is later in truth, a distrust perhaps.
func (s state) outbids() bool {
	return s.secret != nil && s.memory.record.tooNew(s.format) == nil && s.secret.record.Generation == s.memory.record.Generation
}

// requestAfter is the id of the request that is done once step k was taken.
func (s state) requestAfter(k kind) string {
	switch {
	case s.request.ID != "" && (k == create || k == distrust || k == rotate && !s.request.Distrust):
		return s.request.ID
	case s.memory != nil:
		return s.memory.record.Request
	}
	return ""
}

func (k kind) writesSecret() bool { return k != keep && k != wait && k != adopt && k != inject }

func (s state) waited() bool {
	return !s.waitSince.IsZero() && !s.now.Before(s.waitSince.Add(peerTimeout))
}

func (s state) wait() action {
	if s.waitSince.IsZero() {
		return action{kind: wait, until: s.now.Add(peerTimeout)}
	}
	return action{kind: wait, until: s.waitSince.Add(peerTimeout)}
}
