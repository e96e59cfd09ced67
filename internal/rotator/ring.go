package rotator

import (
	"time"
)

// ca is what the rotation protocol needs to know of one certificate authority.
type ca struct {
	id      string // SHA-256 of the certificate, hex
	created time.Time
	expires time.Time
}

// ring is the protocol's view of a Secret: who signs, who else is trusted, and
// when the last step was taken. It holds no keys, so the protocol can be
// explored without cryptography.
type ring struct {
	signer ca
	// other is trusted beside signer: the CA to come while staged, the CA that
	// was while not. Nil when there is only one.
	other  *ca
	staged bool
	record record
}

// trusts reports whether a bundle made of this ring verifies what id signed.
func (r ring) trusts(id string) bool {
	return r.signer.id == id || (r.other != nil && r.other.id == id)
}

// sameCAs reports whether both rings hold the same CAs in the same roles.
func (r ring) sameCAs(o ring) bool {
	if r.signer.id != o.signer.id || r.staged != o.staged {
		return false
	}
	if r.other == nil || o.other == nil {
		return r.other == o.other
	}
	return r.other.id == o.other.id
}

// advance returns the ring after step. fresh is used by stepStage alone.
func (r ring) advance(s step, fresh ca, overlap time.Duration, now time.Time) ring {
	next := r
	next.record.Step, next.record.At = s, laterThan(r.record.At, now)
	switch s {
	case stepStage:
		next.other, next.staged = &fresh, true
		next.record.StagedAt, next.record.Overlap = next.record.At, duration(overlap)
	case stepPromote:
		was := r.signer
		next.signer, next.other, next.staged = *r.other, &was, false
	case stepRetire:
		next.other, next.staged = nil, false
	}
	return next
}

// laterThan returns now, or the next instant after last when the clock stands
// at or before it: records order the states of the fleet, so they only grow.
func laterThan(last, now time.Time) time.Time {
	now = now.UTC().Round(0)
	if now.After(last) {
		return now
	}
	return last.Add(time.Nanosecond)
}

// verdict says what a replica makes of the Secret it sees.
type verdict int

const (
	keep    verdict = iota // the Secret is what we remember
	adopt                  // the Secret is newer, or we remember nothing: remember it
	restore                // the Secret is damaged or older: write back what we remember
	found                  // nobody knows a CA: make the first one
)

// futureTolerance is how far ahead of our clock a step may be recorded. Steps
// are taken only by replicas whose clock is within maxSkew of the apiserver's,
// so two of them differ by at most twice that.
const futureTolerance = 2 * maxSkew

// judge compares what this replica remembers with what the Secret holds; nil
// means nothing remembered, or nothing usable in the Secret. The later recorded
// step wins, so that a replica which missed some adopts them, and an old copy or
// a foreign CA, which cannot carry a later step, is overwritten.
func judge(memory, secret *ring, now time.Time) verdict {
	remembered := memory != nil && now.Before(memory.signer.expires)
	switch {
	case secret == nil && !remembered:
		return found
	case secret == nil:
		return restore
	case !remembered:
		return adopt
	case secret.record.At.After(now.Add(futureTolerance)):
		return restore
	case secret.record.At.After(memory.record.At):
		return adopt
	case secret.record.At.Before(memory.record.At), !secret.sameCAs(*memory):
		return restore
	}
	return keep
}
