package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// requestTimeout bounds one look at the cluster and one write, so that an
	// apiserver that does not answer is reported within five seconds.
	requestTimeout = 4 * time.Second
	// cutOffAfter is how long a replica must not have heard from the apiserver to
	// doubt what it remembers; at least three checks.
	cutOffAfter = time.Minute

	readRetryFirst, readRetryLast   = 100 * time.Millisecond, 4 * time.Second
	writeRetryFirst, writeRetryLast = time.Second, 30 * time.Second
	// reportAfter is how many failures of a write in a row are worth an event.
	reportAfter = 3
	// maxSkew is how wrong a node's clock may be before somebody is told.
	maxSkew = 5 * time.Minute
)

// Conditions that are logged when they begin, change and end.
const (
	cannotRead  = "cannot read from the apiserver"
	wrongClock  = "the node's clock is wrong"
	badRequest  = "ignoring a request that cannot be read; write it with: sts-webhook rotate"
	newerFormat = "a newer build keeps the Secret: leaving it alone"
	noWebhook   = "no webhook calls our Service"
)

// secretIndex stands for the Secret where configurations are told apart by index.
const secretIndex = -1

// loopState is what the loop knows beside memory. Indexes are of configurations.
type loopState struct {
	lastRead  time.Time // of the last live look that succeeded
	readRetry time.Duration
	cutOff    bool                // see state
	waitSince time.Time           // see state
	strayed   map[int]time.Time   // since when a caBundle is not memory's
	matched   map[int][]byte      // the last caBundle that was
	writes    map[int]*writeState // secretIndex too
	said      map[string]string   // conditions that were logged, by topic
	trust     trustState
}

func newLoopState() loopState {
	l := loopState{strayed: map[int]time.Time{}, matched: map[int][]byte{}, said: map[string]string{}, writes: map[int]*writeState{secretIndex: {}}}
	for i := range configurations {
		l.writes[i] = &writeState{}
	}
	return l
}

// reconcile looks at the cluster, does at most one write, and returns when to look
// again if nothing happens before.
func (r *Rotator) reconcile(ctx context.Context) time.Duration {
	due := r.clock.Now().Sub(r.loop.lastRead).Abs() >= r.opts.Policy.RotationCheck
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
	return max(0, min(again, r.serveAndCheck(ctx, seen), r.opts.Policy.RotationCheck))
}

// observe looks at the cluster and notes what that says about the connection.
func (r *Rotator) observe(ctx context.Context, live bool) (observation, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	seen, err := r.cluster.observe(ctx, live)
	if err != nil || !seen.live {
		return seen, err
	}
	r.loop.readRetry = 0
	r.say(cannotRead, nil)
	now, l := r.clock.Now(), &r.loop
	if gap := now.Sub(l.lastRead); r.memory.Load() != nil && gap >= max(cutOffAfter, 3*r.opts.Policy.RotationCheck) {
		l.cutOff = true
	}
	l.lastRead = now
	if skew := r.clock.Skew(); skew.Abs() > maxSkew {
		err := fmt.Errorf("it differs from the apiserver's by %s; certificates are made and judged by the apiserver's; set the node's time right", skew.Round(time.Second))
		if r.say(wrongClock, err) {
			r.report(EventClock, "ClockSkew", wrongClock+": "+err.Error())
		}
	} else if r.say(wrongClock, nil) {
		r.report(EventClock, "ClockRight", "the node's clock agrees with the apiserver's again")
	}
	return seen, nil
}

// unreadable reports why the cluster cannot be seen. What is served goes on.
func (r *Rotator) unreadable(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	err = fmt.Errorf("apiserver %s: %w", r.host, err)
	r.say(cannotRead, err)
	r.setReady(err)
	r.loop.readRetry = min(max(2*r.loop.readRetry, readRetryFirst), readRetryLast)
	return r.loop.readRetry
}

// state gathers what decide looks at, and the keyring of the Secret; nil when it holds none.
func (r *Rotator) state(seen observation) (state, *keyring) {
	memory, now, l := r.memory.Load(), r.clock.Now(), &r.loop
	// Times are bounded: the apiserver's time may be found to be earlier than it seemed.
	s := state{now: now, policy: r.opts.Policy, cutOff: l.cutOff, blank: true, waitSince: earlier(l.waitSince, now)}
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
		rec := parseRecord(seen.secret.Annotations[recordAnnotation])
		s.blank, s.newer = len(pick(seen.secret.Data)) == 0, rec.newer()
		r.noteFormat(rec)
		s.request, err = parseRequest(seen.secret.Annotations[requestAnnotation])
		r.say(badRequest, err)
	}
	for i, config := range seen.configs {
		entries := entriesOf(config, r.opts.Namespace)
		r.noteConfiguration(configurations[i], len(entries) > 0)
		matches := memory != nil && !slices.ContainsFunc(entries, func(e entry) bool { return !bytes.Equal(e.bundle, memory.bundle()) })
		switch _, strayed := l.strayed[i]; {
		case matches || len(entries) == 0:
			delete(l.strayed, i)
		case !strayed || now.Before(l.strayed[i]):
			l.strayed[i] = now
		}
		if matches && len(entries) > 0 {
			l.matched[i] = memory.bundle()
		}
		for _, e := range entries {
			cas := bundleCAs(e.bundle)
			s.bundles = append(s.bundles, bundle{
				config: i, empty: len(cas) == 0, matches: memory != nil && bytes.Equal(e.bundle, memory.bundle()),
				trustsMemory: memory != nil && memory.certifiedBy(cas), trustsSecret: held != nil && held.certifiedBy(cas),
				since: l.strayed[i], heldUntil: earlier(l.writes[i].heldUntil, now.Add(writeRetryLast)),
			})
		}
	}
	return s, held
}

// noteFormat logs that a newer build keeps the Secret.
func (r *Rotator) noteFormat(rec record) {
	var err error
	if rec.newer() {
		err = fmt.Errorf("its record has format %d, this build writes %s", rec.Format, recordFormat)
	}
	if r.changed(newerFormat, err) && err != nil {
		r.log.Info(newerFormat, "cause", err.Error())
	}
}

// noteConfiguration logs that no pod is sent here. It is no error yet: the manifests
// are perhaps being applied. If it lasts, reportTrust says so.
func (r *Rotator) noteConfiguration(c configuration, callsUs bool) {
	var err error
	if !callsUs {
		err = fmt.Errorf("%s does not exist, or none of its webhooks calls the Service %s/%s", c, r.opts.Namespace, ServiceName)
	}
	if r.changed(noWebhook+c.kind, err) && err != nil {
		r.log.Info(noWebhook, "cause", err.Error())
	}
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
	clear(r.loop.strayed) // the peers need time to serve k before an old CA goes
	r.metrics.expiry.WithLabelValues("ca").Set(float64(k.trusted[0].expires.Unix()))
}

// writeSecret restores the Secret or takes a step.
func (r *Rotator) writeSecret(ctx context.Context, step kind, s state, seen observation) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if seen.secret == nil {
		return r.wrote(ctx, secretIndex, step, r.cluster.createSecret(ctx)) // empty; the next pass fills it
	}
	memory := r.memory.Load()
	if step == restore {
		cause := causeReplaced
		switch {
		case s.blank:
			cause = causeEmptied
		case s.secret == nil:
			cause = causeDamaged
		}
		err := r.cluster.updateSecret(ctx, seen.secret, memory)
		if err == nil {
			r.repaired(secretIndex, "SecretRestored", "Secret "+SecretName, cause, seen.secret, "data")
		}
		return r.wrote(ctx, secretIndex, step, err)
	}
	k, err := r.issuer.after(memory, record{Generation: s.nextGeneration(), Step: step, Request: s.requestAfter(step)}, s.now)
	if err == nil {
		err = r.cluster.updateSecret(ctx, seen.secret, k)
	}
	if err == nil {
		r.remember(k)
		signer := k.trusted[0]
		r.log.Info("took a step of the certificate life cycle", "step", step, "generation", k.record.Generation, "signer", signer.id, "request", k.record.Request)
		r.report(EventCertificate, stepReasons[step], fmt.Sprintf("%s: the CA is %.12s until %s, the serving certificate ends %s",
			step, signer.id, signer.expires.UTC().Format(time.RFC3339), k.leafExpires.UTC().Format(time.RFC3339)))
	}
	return r.wrote(ctx, secretIndex, step, err)
}

var stepReasons = map[kind]string{create: "CACreated", rotate: "CARotated", distrust: "CADistrusted", retire: "CARetired", renew: "CertificateRenewed"}

// inject writes memory's caBundle: as a matter of course after each step, as a
// repair when the caBundle was another one than the last that was ours.
func (r *Rotator) inject(ctx context.Context, index int, seen observation) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	config, memory := seen.configs[index], r.memory.Load()
	err := r.cluster.updateBundles(ctx, config, memory.bundle())
	if err == nil {
		r.log.Info("wrote the caBundle", "configuration", configurations[index].name, "generation", memory.record.Generation)
		entries, last := entriesOf(config, r.opts.Namespace), r.loop.matched[index]
		if i := slices.IndexFunc(entries, func(e entry) bool { return last != nil && !bytes.Equal(e.bundle, last) }); i >= 0 {
			cause := causeBundleReplaced
			switch {
			case len(bytes.TrimSpace(entries[i].bundle)) == 0:
				cause = causeBundleEmptied
			case len(bundleCAs(entries[i].bundle)) == 0:
				cause = causeBundleDamaged
			}
			r.repaired(index, "CABundleRepaired", "the caBundle of "+configurations[index].String(), cause, config, "caBundle")
		}
	}
	return r.wrote(ctx, index, inject, err)
}

// serveAndCheck serves what the caBundle verifies, and tries to become Ready.
func (r *Rotator) serveAndCheck(ctx context.Context, seen observation) time.Duration {
	if r.memory.Load() == nil {
		return r.opts.Policy.RotationCheck
	}
	trusted := r.serve(seen.bundle(r.opts.Namespace))
	r.reportTrust(trusted, slices.ContainsFunc(seen.configs, func(c *unstructured.Unstructured) bool { return len(entriesOf(c, r.opts.Namespace)) > 0 }))
	if !r.proven() {
		if err := r.selfCheck(ctx); err != nil {
			r.setReady(err)
			return readRetryFirst
		}
		r.setReady(nil)
		r.log.Info("ready: the live caBundle verifies this replica")
	}
	if !trusted {
		return time.Second // for reportTrust
	}
	return r.opts.Policy.RotationCheck
}
