package rotator

import (
	"errors"
	"fmt"
	"time"
)

// step is one write of the certificate life cycle.
type step string

const (
	stepNone    step = ""
	stepMark    step = "mark"    // a Secret of unknown age gets its first record
	stepStage   step = "stage"   // trust a new CA beside the signer
	stepPromote step = "promote" // let the new CA sign
	stepRetire  step = "retire"  // stop trusting the old CA

	// Taken outside plan: the first keyring, the engine's renewal of the
	// serving certificate, and its injection of the caBundle.
	stepBootstrap step = "bootstrap"
	stepRenew     step = "renew"
	stepInject    step = "inject"
)

// distrustOverlap is the overlap of a rotation asked for with --distrust-now:
// long enough for every apiserver's watch to deliver the bundle under ordinary
// conditions, short enough that a leaked key is worthless in seconds.
const distrustOverlap = 2 * time.Second

// Policy holds the durations of the rotation protocol. All must be positive;
// there are no zero-value defaults.
type Policy struct {
	CADuration    time.Duration // life of a CA; replaced from 2/3 of it on
	CertDuration  time.Duration // life of a serving certificate; renewed at 2/3 of it
	CAOverlap     time.Duration // how long a CA is trusted before it signs and after it did
	RotationCheck time.Duration // how often a replica looks whether something is due
}

// lookahead is how long before its end the engine renews a certificate. The
// engine applies it to the CA as well, see Validate.
func (p Policy) lookahead() time.Duration { return p.CertDuration / 3 }

// Validate reports every duration that would break a promise, with the reason.
func (p Policy) Validate() error {
	var errs []error
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"--ca-duration", p.CADuration}, {"--cert-duration", p.CertDuration},
		{"--ca-overlap", p.CAOverlap}, {"--rotation-check", p.RotationCheck},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s=%s: must be positive", d.flag, d.value))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if limit := p.lookahead() / 2; p.RotationCheck > limit {
		errs = append(errs, fmt.Errorf("--rotation-check=%s: must be at most %s, a sixth of --cert-duration=%s: "+
			"a serving certificate is renewed in the last third of its life, and two checks must fall into it",
			p.RotationCheck, limit, p.CertDuration))
	}
	need := 2*p.CAOverlap + p.lookahead() + 2*p.RotationCheck
	if rest := p.CADuration / 3; rest < need {
		errs = append(errs, fmt.Errorf("--ca-duration=%s: must be at least %s: the last third of a CA's life must hold twice --ca-overlap=%s, "+
			"a third of --cert-duration=%s and twice --rotation-check=%s; otherwise the engine would re-key for ever",
			p.CADuration, 3*need, p.CAOverlap, p.CertDuration, p.RotationCheck))
	}
	return errors.Join(errs...)
}

// plan decides the next step and when it is due; a step that is not due yet
// comes with a time after now, stepNone with the time to look again.
func plan(r ring, q request, now time.Time) (step, time.Time) {
	if r.record.At.IsZero() {
		return stepMark, now
	}
	if q.DistrustBefore.After(r.record.StagedAt) {
		return stepStage, now
	}
	// A CA that ends before the overlap does leaves half of its remaining life.
	overlap := min(time.Duration(r.record.Overlap), r.signer.expires.Sub(r.record.At)/2)
	switch {
	case r.staged:
		return stepPromote, r.record.At.Add(overlap)
	case r.other != nil:
		return stepRetire, r.record.At.Add(time.Duration(r.record.Overlap))
	case q.RotateAt.After(r.record.StagedAt):
		return stepStage, now
	}
	return stepStage, r.signer.created.Add(r.signer.expires.Sub(r.signer.created) * 2 / 3)
}

// overlapFor is the overlap that a CA staged now gets.
func overlapFor(r ring, q request, p Policy) time.Duration {
	if q.DistrustBefore.After(r.record.StagedAt) {
		return min(distrustOverlap, p.CAOverlap)
	}
	return p.CAOverlap
}

// settleTime is how long the live caBundle must have held both CAs, as this
// replica sees it, before the new one may sign: other apiservers learn of it by
// watches of their own. It matters when the caBundle was damaged or the
// configuration missing while a CA was staged.
const settleTime = 10 * time.Minute

// never is a time that does not come.
var never = time.Unix(1<<40, 0)

// afterTrust delays a promotion that is due until the caBundle has been ours for
// long enough; since is when it became so, zero when it is not.
func afterTrust(s step, due time.Time, r ring, since time.Time) time.Time {
	if s != stepPromote {
		return due
	}
	if since.IsZero() {
		return never
	}
	if settled := since.Add(min(settleTime, time.Duration(r.record.Overlap))); settled.After(due) {
		return settled
	}
	return due
}
