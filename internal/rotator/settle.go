package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// graceForPeers is how long a replica that knows no CA waits for one that does,
// where there are signs that a CA existed. Peers restore a Secret, or inject a
// step's caBundle, within milliseconds of its watch event; on a machine that is
// short of CPU it was seen to take more than two seconds.
const graceForPeers = 5 * time.Second

// fieldOwner names us in managedFields.
const fieldOwner = "sts-webhook"

// settle brings memory and Secret to the same keyring. A positive duration asks
// the caller to stop here and look again after it.
func (r *Rotator) settle(ctx context.Context, secret *corev1.Secret, bundle []byte) (time.Duration, error) {
	held, problem := r.parse(secret)
	seen := sight{secret: ringOf(held), blank: secret == nil || len(pick(secret.Data)) == 0, bundle: bundleIDs(bundle)}
	memory := r.memory.Load()
	now := r.clock.Now()
	v := judge(ringOf(memory), seen, now)
	if v != wait {
		r.lostSince = time.Time{}
	}
	switch {
	case v == wait:
		return r.awaitPeers(ctx, secret, held)
	case v == found:
		return r.found(ctx, secret)
	case v == adopt:
		r.remember(held)
	case v == restore:
		return 0, r.restore(ctx, secret, causeOf(secret, problem))
	case held.leaf != nil:
		r.remember(held) // perhaps with a renewed leaf
	case memory.leaf != nil && now.Before(memory.leaf.Leaf.NotAfter):
		return 0, r.restore(ctx, secret, causeDamaged)
	}
	return 0, nil
}

// awaitPeers waits for a replica that remembers the CA which the caBundle tells
// of. When none came, nobody does: what the Secret holds is as good as any, and a
// new record makes it the fleet's; if it holds nothing, a new CA is made.
func (r *Rotator) awaitPeers(ctx context.Context, secret *corev1.Secret, held *keyring) (time.Duration, error) {
	now := r.clock.Now()
	if r.lostSince.IsZero() {
		r.lostSince = now
		r.log.Info("Secret and caBundle disagree: waiting for a replica that remembers the CA", "for", graceForPeers.String())
	}
	if rest := r.lostSince.Add(graceForPeers).Sub(now); rest > 0 {
		r.setReady(errors.New("the Secret and the caBundle disagree: waiting for a replica that remembers the CA"))
		return rest, nil
	}
	if held == nil {
		return r.found(ctx, secret)
	}
	if err := r.clock.trouble(); err != nil {
		return 0, err
	}
	chosen := *held
	chosen.ring = held.ring.advance(stepMark, ca{}, r.opts.Policy.CAOverlap, now)
	err := r.write(ctx, secret, &chosen)
	r.metrics.stepped(stepMark, err)
	if err != nil {
		return 50 * time.Millisecond, r.ignoreConflict("mark", err)
	}
	r.log.Info("no replica remembers the CA of the caBundle: going on with the Secret's", "signer", chosen.signer.id)
	r.remember(&chosen)
	return 0, nil
}

// remember makes k the keyring that this replica defends.
func (r *Rotator) remember(k *keyring) {
	previous := r.memory.Swap(k)
	r.metrics.expiries(k)
	if previous == nil {
		close(r.known)
	}
}

// restore writes memory into the Secret. A conflict means that somebody else
// wrote it: the watch brings that and the loop judges anew.
func (r *Rotator) restore(ctx context.Context, secret *corev1.Secret, cause string) error {
	if secret == nil {
		created, err := r.ensureSecret(ctx)
		if err != nil {
			return err
		}
		if _, problem := r.parse(created); problem == nil {
			r.wake() // a peer was faster
			return nil
		}
		secret = created
	}
	k := r.memory.Load()
	if err := r.write(ctx, secret, k); err != nil {
		return r.ignoreConflict("restore", err)
	}
	r.metrics.repaired(cause)
	r.log.Info("restored the certificate Secret from memory", "cause", cause, "signer", k.signer.id)
	r.report(EventCertificate, "SecretRestored", fmt.Sprintf("Secret %s was %s; restored to the same keys", SecretName, cause))
	return nil
}

// found makes the first keyring of the fleet.
func (r *Rotator) found(ctx context.Context, secret *corev1.Secret) (time.Duration, error) {
	if err := r.clock.trouble(); err != nil {
		return 0, err
	}
	if secret == nil {
		created, err := r.ensureSecret(ctx)
		if err != nil {
			return 0, err
		}
		if _, problem := r.parse(created); problem == nil {
			return time.Millisecond, nil
		}
		secret = created
	}
	now := r.clock.Now()
	data, err := r.make.create(now)
	if err != nil {
		return 0, err
	}
	k, err := parseKeyring(&corev1.Secret{Data: data}, r.DNSName())
	if err != nil {
		return 0, fmt.Errorf("check the new keyring: %w", err)
	}
	k.record = record{Step: stepBootstrap, At: laterThan(time.Time{}, now)}
	if err := r.write(ctx, secret, k); err != nil {
		r.metrics.stepped(stepBootstrap, err)
		return time.Second, r.ignoreConflict("bootstrap", err)
	}
	r.metrics.stepped(stepBootstrap, nil)
	r.remember(k)
	r.log.Info("created the CA and the serving certificate", "signer", k.signer.id, "expires", k.signer.expires)
	r.report(EventCertificate, "Bootstrapped", "created the CA and the serving certificate")
	return 0, nil
}

// ensureSecret returns the live Secret, created empty if it was missing. Server-
// side apply is used because, unlike POST, it names the object in the URL: RBAC
// can then limit the right to create to this one name.
func (r *Rotator) ensureSecret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.opts.Namespace, Name: SecretName}}
	body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":%q,"name":%q,"labels":{"app":%q}},"type":"Opaque"}`,
		r.opts.Namespace, SecretName, ServiceName)
	err := r.client.Patch(ctx, secret, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner(fieldOwner+"-create"), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("create Secret %s/%s: %w", r.opts.Namespace, SecretName, err)
	}
	return secret, nil
}

// write makes the Secret hold k, if it is still the version given.
func (r *Rotator) write(ctx context.Context, secret *corev1.Secret, k *keyring) error {
	updated := secret.DeepCopy()
	k.fill(updated)
	if err := r.client.Update(ctx, updated, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("update Secret %s/%s: %w", r.opts.Namespace, SecretName, err)
	}
	return nil
}

// ignoreConflict passes every error but those that mean "somebody was faster".
func (r *Rotator) ignoreConflict(what string, err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		r.log.V(1).Info("another replica was faster", "what", what)
		return nil
	}
	return err
}

func (r *Rotator) parse(secret *corev1.Secret) (*keyring, error) {
	if secret == nil {
		return nil, errDeleted
	}
	return parseKeyring(secret, r.DNSName())
}

func (r *Rotator) report(kind EventKind, reason, message string) {
	r.opts.Report(Event{Kind: kind, Reason: reason, Message: message})
}

func ringOf(k *keyring) *ring {
	if k == nil {
		return nil
	}
	return &k.ring
}

// Causes of a repair, as in the metric's label and in messages.
const (
	causeDeleted  = "deleted"
	causeEmptied  = "emptied"
	causeDamaged  = "damaged"
	causeReplaced = "replaced"
)

var errDeleted = errors.New("the Secret does not exist")

func causeOf(secret *corev1.Secret, problem error) string {
	switch {
	case secret == nil:
		return causeDeleted
	case len(pick(secret.Data)) == 0:
		return causeEmptied
	case problem != nil:
		return causeDamaged
	}
	return causeReplaced // a foreign CA, or an old copy
}

// sameKeys reports whether two keyrings hold the same bytes.
func sameKeys(a, b *keyring) bool {
	if a == nil || b == nil || len(a.data) != len(b.data) {
		return false
	}
	for key, value := range a.data {
		if !bytes.Equal(value, b.data[key]) {
			return false
		}
	}
	return true
}
