package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// requestTimeout bounds one look at the cluster and one write, so that an
	// apiserver that does not answer is reported within five seconds.
	requestTimeout = 4 * time.Second
	// cutOffAfter is how long a replica must not have heard from the apiserver to
	// doubt what it remembers; at least three checks.
	cutOffAfter = time.Minute

	// blindInterval is the time between two looks while an object is not watched, below
	// injectDelay; blindFor is how long that goes on, more than client-go waits.
	blindInterval, blindFor = 250 * time.Millisecond, time.Minute

	readRetryFirst, readRetryLast   = 100 * time.Millisecond, time.Second
	writeRetryFirst, writeRetryLast = time.Second, 30 * time.Second
)

// secretIndex stands for the Secret where configurations are distinguished by index.
const secretIndex = -1

// loopState is what the loop knows beside memory. Indexes are of configurations.
type loopState struct {
	lastRead   time.Time // of the last live look that succeeded
	disturbed  time.Time // of the last look that failed
	readRetry  time.Duration
	cutOff     bool                // see state
	waitSince  time.Time           // see state
	waitDigest string              // of the Secret then
	mismatched map[int]time.Time   // since when a caBundle is not memory's
	matched    map[int][]byte      // the last caBundle that was
	writes     map[int]*writeState // secretIndex too
	conditions map[string]conditionState
}

func newLoopState() loopState {
	l := loopState{mismatched: map[int]time.Time{}, matched: map[int][]byte{}, conditions: map[string]conditionState{}, writes: map[int]*writeState{secretIndex: {}}}
	for i := range configurations {
		l.writes[i] = &writeState{}
	}
	return l
}

// reconcile looks at the cluster, does at most one write, and returns when to look
// again if nothing happens before.
func (r *Rotator) reconcile(ctx context.Context) time.Duration {
	due := r.clock.Now().Sub(r.loop.lastRead).Abs() >= r.checkInterval()
	seen, err := r.observe(ctx, due || r.memory.Load() == nil)
	if err != nil {
		return r.unreadable(ctx, err)
	}
	s, held := r.state(seen)
	next := decide(s)
	if next.kind != keep && !seen.live { // the cache may be behind, so a change is decided on a live look
		if seen, err = r.observe(ctx, true); err != nil {
			return r.unreadable(ctx, err)
		}
		s, held = r.state(seen)
		next = decide(s)
	}
	if seen.live {
		r.loop.cutOff = s.doubtful()
	}
	again := r.carryOut(ctx, next, s, seen, held)
	return max(0, min(again, r.serveAndCheck(ctx, seen), r.checkInterval()))
}

// bounded is a context for requests. They are ended by time alone, not by the end
// of the process: client-go logs an answer that is cut off as an error.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
}

// observe looks at the cluster and notes what that says about the connection.
func (r *Rotator) observe(ctx context.Context, live bool) (observation, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	seen, err := r.cluster.observe(ctx, live)
	if err != nil || !seen.live {
		return seen, err
	}
	r.loop.readRetry = 0
	r.note(cannotRead, "", nil)
	now, l := r.clock.Now(), &r.loop
	if gap := now.Sub(l.lastRead); r.memory.Load() != nil && gap >= max(cutOffAfter, 3*r.opts.Policy.RotationCheck) {
		l.cutOff = true
	}
	l.lastRead = now
	r.note(wrongClock, "", r.clock.problem())
	r.reportCalm()
	return seen, nil
}

// unreadable reports why the cluster cannot be seen. What is served goes on.
func (r *Rotator) unreadable(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	r.loop.disturbed = r.opts.Now()
	err = fmt.Errorf("apiserver %s: %w", r.host, err)
	r.note(cannotRead, "", err)
	r.setReady(err)
	r.loop.readRetry = min(max(2*r.loop.readRetry, readRetryFirst), readRetryLast)
	return r.loop.readRetry
}

// state gathers what decide looks at, and the keyring of the Secret; nil when it holds none.
func (r *Rotator) state(seen observation) (state, *keyring) {
	memory, now, l := r.memory.Load(), r.clock.Now(), &r.loop
	// Times are bounded: the apiserver's time may be found to be earlier than it seemed.
	s := state{now: now, policy: r.opts.Policy, format: r.issuer.format, cutOff: l.cutOff, blank: true, waitSince: earlier(l.waitSince, now)}
	s.secretHeldUntil = earlier(l.writes[secretIndex].heldUntil, now.Add(writeRetryLast))
	if memory != nil {
		s.memory = &memory.summary
	}
	var held *keyring
	if seen.secret != nil {
		var err error
		if held, err = parseKeyring(seen.secret, r.issuer.dnsName); err == nil {
			s.secret, s.continues = &held.summary, memory != nil && held.certifiedBy(memory.cas)
		}
		err = parseRecord(seen.secret.Annotations[recordAnnotation]).tooNew(r.issuer.format)
		s.blank, s.newer = len(pick(seen.secret.Data)) == 0, err != nil
		r.note(newerFormat, "", err)
		s.request, err = parseRequest(seen.secret.Annotations[requestAnnotation])
		r.note(badRequest, "", err)
	}
	digest := ""
	if held != nil {
		digest = held.digest
	}
	if digest != l.waitDigest { // a peer has acted
		l.waitDigest, s.waitSince = digest, time.Time{}
	}
	if memory != nil && held != nil && held.digest == memory.digest {
		if _, due := nextStep(memory.summary, s.request, s.policy, now); now.Before(due) {
			r.clearFailures(secretIndex)
		}
	}
	for i, config := range seen.configs {
		entries := entriesOf(config, r.opts.Namespace)
		matches := memory != nil && !slices.ContainsFunc(entries, func(e entry) bool { return !bytes.Equal(e.bundle, memory.bundle()) })
		switch _, mismatched := l.mismatched[i]; {
		case matches || len(entries) == 0:
			delete(l.mismatched, i)
		case !mismatched || now.Before(l.mismatched[i]):
			l.mismatched[i] = now
		}
		if matches && len(entries) > 0 {
			l.matched[i] = memory.bundle()
			r.clearFailures(i)
		}
		list := &s.bundles
		if i > 0 {
			list = &s.followers
			r.note(cannotFollow, configurations[i].String(), seen.unread[i])
		}
		for _, e := range entries {
			cas := bundleCAs(e.bundle)
			*list = append(*list, bundle{
				config: i, empty: len(cas) == 0, matches: memory != nil && bytes.Equal(e.bundle, memory.bundle()),
				trustsMemory: memory != nil && memory.certifiedBy(cas), trustsSecret: held != nil && held.certifiedBy(cas),
				since: l.mismatched[i], heldUntil: earlier(l.writes[i].heldUntil, now.Add(writeRetryLast)),
			})
		}
	}
	return s, held
}

// carryOut does what was decided and returns when to look again.
func (r *Rotator) carryOut(ctx context.Context, next action, s state, seen observation, held *keyring) time.Duration {
	switch next.kind {
	case keep:
		r.loop.waitSince = time.Time{}
		return next.until.Sub(s.now)
	case wait:
		if r.loop.waitSince = s.waitSince; s.waitSince.IsZero() {
			r.loop.waitSince = s.now
			r.log.Info("leaving the Secret for a moment to a replica that may know better", "for", peerTimeout.String())
		}
		r.setReady(errors.New("the Secret and the caBundle disagree: waiting for a replica that remembers the CA"))
		return next.until.Sub(s.now)
	}
	r.loop.waitSince = time.Time{}
	switch next.kind {
	case adopt:
		r.remember(held)
		return 0
	case inject:
		return r.inject(ctx, next.config, seen)
	}
	return r.writeSecret(ctx, next.kind, s, seen)
}

// remember makes k the keyring that this replica serves and defends.
func (r *Rotator) remember(k *keyring) {
	r.memory.Store(k)
	r.loop.cutOff = false
	r.clearFailures(secretIndex)
	clear(r.loop.mismatched) // the peers need time to serve k before an old CA goes
	r.metrics.expiry.WithLabelValues("ca").Set(float64(k.trusted[0].expires.Unix()))
}

// writeSecret restores the Secret or takes a step.
func (r *Rotator) writeSecret(ctx context.Context, step kind, s state, seen observation) time.Duration {
	ctx, cancel := bounded(ctx)
	defer cancel()
	secret, err := seen.secret, error(nil)
	if secret == nil {
		if secret, err = r.cluster.createSecret(ctx); err != nil || len(secret.Data) > 0 { // a peer was faster
			return r.wrote(secretIndex, step, err)
		}
	}
	memory, manager := r.memory.Load(), lastManager(secret, "data", recordAnnotation)
	k := memory // byte for byte, if that will do
	if step != restore || s.outbids() {
		k, err = r.issuer.after(memory, record{Generation: s.nextGeneration(), Step: step, Request: s.requestAfter(step)}, s.now)
	}
	if err == nil {
		err = r.cluster.updateSecret(ctx, secret, k)
	}
	switch {
	case err != nil:
	case step == restore:
		r.remember(k)
		r.repaired(ctx, secretIndex, ReasonSecretRestored, damage(seen, s), manager, secret)
	default:
		r.remember(k)
		signer := k.trusted[0]
		r.log.Info("took a step of the certificate life cycle", "step", step, "generation", k.record.Generation, "signer", signer.id, "request", k.record.Request)
		r.report(Event{
			Kind: EventCertificate, Reason: stepReasons[step],
			CA: fmt.Sprintf("%.12s", signer.id), CAEnds: signer.expires, CertificateEnds: k.leafExpires,
			Message: fmt.Sprintf("%s: the CA is %.12s until %s, the serving certificate ends %s",
				step, signer.id, signer.expires.UTC().Format(time.RFC3339), k.leafExpires.UTC().Format(time.RFC3339)),
		})
	}
	return r.wrote(secretIndex, step, err)
}

var stepReasons = map[kind]string{
	create: ReasonCACreated, rotate: ReasonCARotated, distrust: ReasonCADistrusted, retire: ReasonCARetired, renew: ReasonCertificateRenewed,
}

// inject writes memory's caBundle: as a matter of course after each step, as a
// repair when the caBundle was another one than the last that was ours.
func (r *Rotator) inject(ctx context.Context, index int, seen observation) time.Duration {
	ctx, cancel := bounded(ctx)
	defer cancel()
	config, memory, last := seen.configs[index], r.memory.Load(), r.loop.matched[index]
	before, manager := entriesOf(config, r.opts.Namespace), lastManager(config, "caBundle")
	err := r.cluster.updateBundles(ctx, config, memory.bundle())
	if err == nil {
		r.log.Info("wrote the caBundle", "configuration", configurations[index].name, "generation", memory.record.Generation)
		if i := slices.IndexFunc(before, func(e entry) bool { return last != nil && !bytes.Equal(e.bundle, last) }); i >= 0 {
			r.repaired(ctx, index, ReasonCABundleRepaired, damageOf(before[i].bundle), manager, seen.secret)
		}
	}
	return r.wrote(index, inject, err)
}

// serveAndCheck serves what the caBundle verifies, and tries to become Ready.
func (r *Rotator) serveAndCheck(ctx context.Context, seen observation) time.Duration {
	if r.memory.Load() == nil {
		return r.opts.Policy.RotationCheck
	}
	trusted := r.serve(seen.bundle(r.opts.Namespace))
	if r.proven() {
		r.note(notTrusted, "", r.trustProblem(seen, trusted))
	} else {
		err := r.selfCheck(ctx)
		if len(seen.entries(r.opts.Namespace)) == 0 {
			err = r.trustProblem(seen, false)
		}
		if err != nil {
			r.setReady(err)
			return readRetryFirst
		}
		r.setReady(nil)
		r.log.Info("ready: the live caBundle verifies this replica")
	}
	if !trusted {
		return time.Second // to report it when it lasts
	}
	return r.opts.Policy.RotationCheck
}
