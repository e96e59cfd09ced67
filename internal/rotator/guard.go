package rotator

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// guard is the client that the engine writes with. It lets the engine renew the
// serving certificate and inject the caBundle, and never lets it replace a CA
// that this replica remembers and that is still valid.
//
// A write that lost against another one is answered as done: the engine would
// log an error and try again from the same stale cache, whereas the watch event
// of the winning write makes it look anew anyway.
type guard struct {
	client.Client
	rotator *Rotator
}

// Update is the only write that the engine does.
func (g *guard) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	switch o := obj.(type) {
	case *corev1.Secret:
		return g.rotator.ignoreConflict("update the Secret", g.updateSecret(ctx, o, opts))
	case *unstructured.Unstructured:
		return g.rotator.ignoreConflict("inject the caBundle", g.updateConfiguration(ctx, o, opts))
	}
	return fmt.Errorf("update %T: not a kind that the engine writes", obj)
}

func (g *guard) updateSecret(ctx context.Context, secret *corev1.Secret, opts []client.UpdateOption) error {
	r := g.rotator
	if _, err := r.bundle(ctx, r.live); err != nil { // for the apiserver's clock
		return err
	}
	if r.clock.trouble() != nil {
		return nil // said by sampleClock; a certificate made by this clock may be invalid
	}
	wanted, err := r.parse(secret)
	if err != nil {
		return fmt.Errorf("check what the engine wants to write: %w", err)
	}
	memory, now := r.memory.Load(), r.clock.Now()
	reason := "CertificateRenewed"
	if !wanted.sameCAs(memory.ring) {
		if now.Before(memory.signer.expires) {
			r.wake() // the Secret is damaged: the loop restores it
			return nil
		}
		reason, wanted.record = "CAReplaced", record{Step: stepBootstrap, At: laterThan(memory.record.At, now)}
		wanted.fill(secret)
	}
	err = g.Client.Update(ctx, secret, opts...)
	r.metrics.stepped(stepRenew, err)
	if err != nil {
		return fmt.Errorf("update Secret: %w", err)
	}
	r.log.Info("renewed the serving certificate", "reason", reason, "expires", wanted.leaf.Leaf.NotAfter)
	r.report(EventCertificate, reason, "the serving certificate was renewed until "+wanted.leaf.Leaf.NotAfter.UTC().Format("2006-01-02 15:04"))
	return nil
}

// updateConfiguration writes the bundle of the fleet's keyring, whatever the
// engine read: in one reconcile it may inject a CA that was just overruled.
func (g *guard) updateConfiguration(ctx context.Context, wanted *unstructured.Unstructured, opts []client.UpdateOption) error {
	r := g.rotator
	memory := r.memory.Load()
	before, err := g.current(ctx, wanted)
	if err != nil {
		return err
	}
	// What the engine read counts too: it may have seen a step before our loop did.
	if before != nil && allEqual(before, memory.bundle()) && allEqual(bundlesOf(wanted), memory.bundle()) {
		return nil
	}
	// Before a write that takes effect, make sure that memory is the fleet's:
	// a replica whose watch of the Secret is behind would fight the others.
	secret, err := r.secret(ctx, r.live)
	if err != nil {
		return err
	}
	held, _ := r.parse(secret)
	if judge(&memory.ring, sight{secret: ringOf(held)}, r.clock.Now()) == adopt {
		memory = held
		r.wake()
	}
	if err := setBundles(wanted, memory.bundle()); err != nil {
		return err
	}
	version := wanted.GetResourceVersion()
	if err := g.Client.Update(ctx, wanted, opts...); err != nil {
		return fmt.Errorf("update MutatingWebhookConfiguration: %w", err)
	}
	if wanted.GetResourceVersion() != version { // else another replica had written the same
		r.injected(before, memory)
	}
	return nil
}

// current returns the caBundles of the configuration, if our own cache holds the
// same version that the engine is about to update; else nil.
func (g *guard) current(ctx context.Context, wanted *unstructured.Unstructured) ([][]byte, error) {
	var c admissionv1.MutatingWebhookConfiguration
	if err := g.rotator.cached.Get(ctx, client.ObjectKeyFromObject(wanted), &c); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if c.ResourceVersion != wanted.GetResourceVersion() {
		return nil, nil
	}
	bundles := [][]byte{}
	for _, w := range c.Webhooks {
		bundles = append(bundles, w.ClientConfig.CABundle)
	}
	return bundles, nil
}
