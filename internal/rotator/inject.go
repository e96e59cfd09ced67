package rotator

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// engineHeadStart is how long the loop leaves the injection to the engine.
const engineHeadStart = 200 * time.Millisecond

// inject writes the caBundle from our own loop, when the engine did not: after the
// apiserver was gone, its retries may be minutes apart. It says when to look again.
func (r *Rotator) inject(ctx context.Context, bundle []byte, configured bool) (time.Duration, error) {
	now := r.clock.Now()
	switch {
	case !configured || bytes.Equal(bundle, r.memory.Load().bundle()):
		r.strayedSince = time.Time{}
		return never.Sub(now), nil
	case r.strayedSince.IsZero():
		r.strayedSince = now
	}
	if rest := r.strayedSince.Add(engineHeadStart).Sub(now); rest > 0 {
		return rest, nil
	}
	r.strayedSince = time.Time{}
	config := &unstructured.Unstructured{}
	config.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"))
	if err := r.live.Get(ctx, client.ObjectKey{Name: ConfigurationName}, config); err != nil {
		return engineHeadStart, client.IgnoreNotFound(err)
	}
	g := &guard{Client: r.client, rotator: r}
	return engineHeadStart, g.Update(ctx, config, client.FieldOwner(fieldOwner))
}

// injected says that the caBundle was written: as a matter of course at the
// first start and after each step, as a repair otherwise.
func (r *Rotator) injected(before [][]byte, k *keyring) {
	cause := ""
	if len(before) > 0 && r.proven() {
		cause = bundleDamage(before[0], k)
	}
	if cause == "" {
		r.metrics.stepped(stepInject, nil)
		r.log.Info("wrote the caBundle", "configuration", ConfigurationName, "signer", k.signer.id)
		return
	}
	r.metrics.repaired(cause)
	r.log.Info("repaired the caBundle", "configuration", ConfigurationName, "cause", cause)
	r.report(EventCertificate, "BundleRepaired", fmt.Sprintf("the caBundle of MutatingWebhookConfiguration %s was damaged (%s); repaired", ConfigurationName, cause))
}

// bundleDamage names what is wrong with a caBundle that should hold k's; "" if
// it is one of the states before k's last step.
func bundleDamage(bundle []byte, k *keyring) string {
	if len(bundle) == 0 {
		return causeBundleEmptied
	}
	if _, err := parseBundle(bundle); err != nil {
		return causeBundleDamaged
	}
	for _, id := range bundleIDs(bundle) {
		if slices.Contains(k.ids(), id) {
			return ""
		}
	}
	return causeBundleReplaced
}

func allEqual(bundles [][]byte, want []byte) bool {
	for _, b := range bundles {
		if !bytes.Equal(b, want) {
			return false
		}
	}
	return true
}

// bundlesOf reads the caBundles that setBundles wrote.
func bundlesOf(config *unstructured.Unstructured) [][]byte {
	webhooks, _, _ := unstructured.NestedSlice(config.Object, "webhooks")
	bundles := [][]byte{}
	for _, w := range webhooks {
		webhook, _ := w.(map[string]any)
		text, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
		bundle, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			bundle = nil
		}
		bundles = append(bundles, bundle)
	}
	return bundles
}

// setBundles puts bundle into each webhook, as the engine's own injection does.
func setBundles(config *unstructured.Unstructured, bundle []byte) error {
	webhooks, _, err := unstructured.NestedSlice(config.Object, "webhooks")
	if err != nil {
		return fmt.Errorf("read webhooks: %w", err)
	}
	for i, w := range webhooks {
		webhook, ok := w.(map[string]any)
		if !ok {
			return fmt.Errorf("read webhooks: number %d is not an object", i)
		}
		if err := unstructured.SetNestedField(webhook, base64.StdEncoding.EncodeToString(bundle), "clientConfig", "caBundle"); err != nil {
			return fmt.Errorf("set caBundle: %w", err)
		}
	}
	return unstructured.SetNestedSlice(config.Object, webhooks, "webhooks")
}
