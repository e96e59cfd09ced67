package rotator

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// rotate takes the next step of the protocol if it is due, and says when to
// look again.
func (r *Rotator) rotate(ctx context.Context, secret *corev1.Secret, bundle []byte) (time.Duration, error) {
	k, now := r.memory.Load(), r.clock.Now()
	if secret == nil {
		return r.opts.Policy.RotationCheck, nil
	}
	q := r.request(secret)
	r.watchBundle(k, bundle, now)
	s, due := plan(k.ring, q, now)
	due = afterTrust(s, due, k.ring, r.bundleSince)
	if now.Before(due) {
		return min(due.Sub(now), r.opts.Policy.RotationCheck, sampleInterval), nil
	}
	return r.take(ctx, s, q)
}

// take carries out s on the Secret as it is now, not as the cache last saw it.
func (r *Rotator) take(ctx context.Context, s step, q request) (time.Duration, error) {
	k := r.memory.Load()
	secret, err := r.secret(ctx, r.live)
	if err != nil {
		return 0, err
	}
	if held, problem := r.parse(secret); problem != nil || !sameKeys(held, k) || !held.record.At.Equal(k.record.At) {
		return 50 * time.Millisecond, nil // the cache is behind; its event wakes us
	}
	if err := r.clock.trouble(); err != nil {
		return sampleInterval, nil // said by sampleClock
	}
	if s == stepPromote {
		if current, err := r.bundleIsCurrent(ctx); err != nil || !current {
			return 50 * time.Millisecond, err
		}
	}
	now := r.clock.Now()
	next, err := r.after(k, s, q, now)
	if err != nil {
		return 0, err
	}
	err = r.write(ctx, secret, next)
	r.metrics.stepped(s, err)
	if err != nil {
		return 50 * time.Millisecond, r.ignoreConflict(string(s), err)
	}
	r.remember(next)
	r.wake()
	r.log.Info("rotation step taken", "step", s, "signer", next.signer.id, "overlap", time.Duration(next.record.Overlap).String())
	if s != stepMark {
		r.report(EventCertificate, stepReason[s], fmt.Sprintf("CA rotation: %s; the signer is %.12s until %s",
			s, next.signer.id, next.signer.expires.UTC().Format(time.RFC3339)))
	}
	return 0, nil
}

var stepReason = map[step]string{stepStage: "CAStaged", stepPromote: "CAPromoted", stepRetire: "CARetired"}

// after returns the keyring that follows k, checked like any other, and checked
// against the pure protocol.
func (r *Rotator) after(k *keyring, s step, q request, now time.Time) (*keyring, error) {
	data, err := r.make.data(k, s, now)
	if err != nil {
		return nil, err
	}
	next, err := parseKeyring(&corev1.Secret{Data: data}, r.DNSName())
	if err != nil {
		return nil, fmt.Errorf("check the keyring after %s: %w", s, err)
	}
	var fresh ca
	if s == stepStage {
		fresh = *next.other
	}
	want := k.ring.advance(s, fresh, overlapFor(k.ring, q, r.opts.Policy), now)
	if !next.ring.sameCAs(want) {
		return nil, fmt.Errorf("check the keyring after %s: not the CAs that the protocol asks for", s)
	}
	next.ring = want
	return next, nil
}

// request reads what the operator asked for. A text that cannot be read is said
// once and asks for nothing: a typing error must not stop the rotation.
func (r *Rotator) request(secret *corev1.Secret) request {
	text := secret.Annotations[requestAnnotation]
	q, err := parseRequest(text)
	if err != nil && text != r.badRequest {
		r.log.Error(err, "ignoring a request that cannot be read; write it with: sts-webhook rotate")
	}
	r.badRequest = ""
	if err != nil {
		r.badRequest = text
	}
	return q
}

// watchBundle notes since when the live caBundle is ours.
func (r *Rotator) watchBundle(k *keyring, bundle []byte, now time.Time) {
	switch {
	case !bytes.Equal(bundle, k.bundle()):
		r.bundleSince = time.Time{}
	case r.bundleSince.IsZero():
		r.bundleSince = now
	}
}
