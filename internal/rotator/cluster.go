package rotator

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// secret reads the certificate Secret; nil means that it does not exist.
func (r *Rotator) secret(ctx context.Context, from client.Reader) (*corev1.Secret, error) {
	var s corev1.Secret
	err := from.Get(ctx, client.ObjectKey{Namespace: r.opts.Namespace, Name: SecretName}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret %s/%s: %w", r.opts.Namespace, SecretName, err)
	}
	return &s, nil
}

// configuration reads the webhook configuration; nil means that it does not exist.
func (r *Rotator) configuration(ctx context.Context, from client.Reader) (*admissionv1.MutatingWebhookConfiguration, error) {
	var c admissionv1.MutatingWebhookConfiguration
	err := from.Get(ctx, client.ObjectKey{Name: ConfigurationName}, &c)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get MutatingWebhookConfiguration %s: %w", ConfigurationName, err)
	}
	return &c, nil
}

// bundle reads the caBundle by which the apiserver verifies our Service; empty
// means that there is none, or no configuration.
func (r *Rotator) bundle(ctx context.Context, from client.Reader) ([]byte, error) {
	c, err := r.configuration(ctx, from)
	if err != nil {
		return nil, err
	}
	return r.bundleOf(c)
}

func (r *Rotator) bundleOf(c *admissionv1.MutatingWebhookConfiguration) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	for _, w := range c.Webhooks {
		if s := w.ClientConfig.Service; s != nil && s.Name == ServiceName && s.Namespace == r.opts.Namespace {
			return w.ClientConfig.CABundle, nil
		}
	}
	return nil, fmt.Errorf("MutatingWebhookConfiguration %s: no webhook calls the Service %s/%s", ConfigurationName, r.opts.Namespace, ServiceName)
}

// bundleIsCurrent reports whether our cache holds the configuration as it is.
func (r *Rotator) bundleIsCurrent(ctx context.Context) (bool, error) {
	live, err := r.configuration(ctx, r.live)
	if err != nil {
		return false, err
	}
	cached, err := r.configuration(ctx, r.cached)
	return live != nil && cached != nil && live.ResourceVersion == cached.ResourceVersion, err
}

// sampleInterval bounds the age of what we know about the apiserver's clock.
const sampleInterval = time.Minute

// sampleClock asks the apiserver for its time now and then, and says when the
// local clock becomes wrong or right.
func (r *Rotator) sampleClock(ctx context.Context) error {
	if now := r.opts.Now(); now.Sub(r.sampled).Abs() >= sampleInterval {
		if _, err := r.bundle(ctx, r.live); err != nil {
			return err
		}
		r.sampled = now
	}
	trouble := r.clock.trouble()
	switch {
	case trouble != nil && !r.clockBad:
		r.log.Error(trouble, "refusing to rotate")
		r.report(EventClock, "ClockSkew", trouble.Error())
	case trouble == nil && r.clockBad:
		r.log.Info("the clock is right again, rotation goes on")
		r.report(EventClock, "ClockRight", "the node's clock agrees with the apiserver's again; rotation goes on")
	}
	r.clockBad = trouble != nil
	return nil
}
