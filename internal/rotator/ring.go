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
	case stepMark: // the age of a rotation under way is unknown: it starts again
		next.record.StagedAt, next.record.Overlap = next.record.At, duration(overlap)
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

// ids returns the CAs that the ring trusts.
func (r ring) ids() []string {
	if r.other == nil {
		return []string{r.signer.id}
	}
	return []string{r.signer.id, r.other.id}
}
