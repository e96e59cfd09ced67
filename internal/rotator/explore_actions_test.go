package rotator

import "time"

// successors yields what may happen next.
func (w world) successors(p protocol, yield func(action, world)) {
	if later, ok := w.pass(p); ok {
		yield(action{none, "a tick passes"}, later)
	}
	if w.apiserver.stale {
		v := w
		v.apiserver = view[bundleState]{seen: w.bundle}
		yield(action{none, "the apiserver catches up"}, v)
	}
	if w.accidents == 0 && (w.replicas[0].ready || w.replicas[1].ready) {
		w.damages(yield)
	}
	for i := range w.replicas {
		w.replicaActions(i, p, func(name string, change func(*world, *replicaState)) {
			v := w
			change(&v, &v.replicas[i])
			v.replicas[i].watchBundle(v.now)
			if v != w {
				yield(action{int8(i), name}, v)
			}
		})
	}
}

// damages are what somebody does to the Secret from outside.
func (w world) damages(yield func(action, world)) {
	damage := func(name string, s secretState) {
		v := w
		v.accidents = 1
		v.writeSecret(s)
		yield(action{none, name}, v)
	}
	damage("the Secret is deleted or damaged", gone)
	// A record that is not for these CAs counts as none, see record.of.
	damage("a foreign CA replaces the Secret's data", secretState{signer: foreign, other: none})
	damage("the first copy of the Secret is put back", firstSecret)
	damage("the record of the steps is wiped", secretState{signer: w.secret.signer, other: w.secret.other, staged: w.secret.staged})
}

func (w world) replicaActions(i int, p protocol, act func(string, func(*world, *replicaState))) {
	self := w.replicas[i]
	// An event wakes the loop at once, so seeing and judging are one action.
	act("sees the Secret", func(v *world, r *replicaState) {
		r.secret = view[secretState]{seen: v.secret}
		r.reconcile(v, p)
	})
	act("sees the caBundle", func(v *world, r *replicaState) {
		r.bundle = view[bundleState]{seen: v.bundle}
		r.reconcile(v, p)
	})
	if self.memory.signer != none && !self.bundle.stale { // stale: the write conflicts
		act("injects", func(v *world, r *replicaState) {
			v.writeBundle(p.injects(r.memory, v.secret, v.now).bundle())
		})
	}
	if next, fresh, ok := self.due(w, p); ok {
		act("takes a step", func(v *world, r *replicaState) {
			v.writeSecret(next)
			v.fresh, r.memory = fresh, next
			r.serve(p)
		})
		act("takes a step and loses the answer", func(v *world, _ *replicaState) {
			v.writeSecret(next)
			v.fresh = fresh
		})
	}
	// One replica at a time: when nobody remembers anything, no promise is made.
	if w.accidents < 2 && w.replicas[1-i].memory.signer != none {
		act("crashes and starts again", func(v *world, r *replicaState) {
			*r = replicaState{memory: gone, secret: r.secret, bundle: r.bundle, served: none, bundleSince: none}
			v.accidents += 2
		})
	}
}

// reconcile is Rotator.settle and Rotator.serve on miniatures.
func (r *replicaState) reconcile(w *world, p protocol) {
	r.settle(w, p)
	r.serve(p)
}

func (r *replicaState) serve(p protocol) {
	if r.memory.signer != none && p.serves(r.bundle.seen, r.memory.signer) {
		r.served, r.ready = r.memory.signer, true
	}
}

func (r *replicaState) settle(w *world, p protocol) {
	if r.memory.signer == none { // as Rotator.reconcile: the first keyring is chosen by live reads
		r.secret = view[secretState]{seen: w.secret}
		r.bundle = view[bundleState]{seen: w.bundle}
	}
	seen := sight{secret: r.secret.seen.ring(), blank: r.secret.seen.signer == none, bundle: r.bundle.seen.ids()}
	switch p.judge(r.memory.ring(), seen, clockAt(w.now)) {
	case adopt, keep:
		r.memory = r.secret.seen
	case restore:
		if !r.secret.stale { // stale: the write conflicts
			w.writeSecret(r.memory)
		}
	case found:
		r.memory = secretState{signer: w.fresh, other: none, at: int16(w.now)*16 + int16(w.fresh) + 1}
		w.fresh++
		w.writeSecret(r.memory)
	}
}

// due returns the Secret after the step that this replica may take now, and the
// next fresh CA. It checks the live Secret, as Rotator.take does.
func (r *replicaState) due(w world, p protocol) (secretState, int8, bool) {
	if r.memory.signer == none || w.secret != r.memory {
		return secretState{}, 0, false
	}
	memory, now := r.memory.ring(), clockAt(w.now)
	s, due := p.plan(*memory, request{RotateAt: clockAt(1)}, now)
	var since time.Time
	if r.bundleSince != none {
		since = clockAt(r.bundleSince)
	}
	due = p.afterTrust(s, due, *memory, since)
	if now.Before(due) || s == stepPromote && r.bundle.stale && !p.promotesBlindly {
		return secretState{}, 0, false
	}
	fresh := w.fresh
	if s == stepStage {
		fresh++
	}
	return stateOf(memory.advance(s, caOf(w.fresh), time.Duration(p.overlap)*tick, now)), fresh, true
}

// watchBundle is Rotator.watchBundle on miniatures.
func (r *replicaState) watchBundle(now int8) {
	switch {
	case r.memory.signer == none || r.bundle.seen != r.memory.bundle():
		r.bundleSince = none
	case r.bundleSince == none:
		r.bundleSince = now
	}
}
