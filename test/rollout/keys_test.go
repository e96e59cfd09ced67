package rollout

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// keys are digests of what the Secret and the caBundle hold.
func (s *suite) keys(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(ctx, webhook.Secret, metav1.GetOptions{})
	kit.Must(t, err)
	configuration, err := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, webhook.Configuration, metav1.GetOptions{})
	kit.Must(t, err)
	data := maps.Clone(secret.Data)
	data["caBundle"] = configuration.Webhooks[0].ClientConfig.CABundle
	digests := map[string]string{}
	for name, value := range data {
		digests[name] = fmt.Sprintf("%d bytes, SHA-256 %.4x", len(value), sha256.Sum256(value))
	}
	return digests
}

// expectKeys expects that nobody has made new keys, or changed whom kube-apiserver trusts.
func (s *suite) expectKeys(ctx context.Context, t *testing.T, want map[string]string) {
	t.Helper()
	if got := s.keys(ctx, t); !maps.Equal(got, want) || got["caBundle"] != got["ca.crt"] {
		t.Errorf("keys and caBundle: got %v, want them as before, %v", got, want)
	}
}

// rotate does what sts-webhook rotate does, and waits until kube-apiserver trusts the new CA.
func (s *suite) rotate(ctx context.Context, t *testing.T) {
	t.Helper()
	before := s.keys(ctx, t)
	c, err := client.New(s.Cluster.RESTConfig(), client.Options{})
	kit.Must(t, err)
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	kit.Must(t, rotator.Request(limited, c, webhook.Namespace, false, io.Discard))
	kit.Must(t, kit.Until(ctx, 10*time.Second, func(ctx context.Context) error {
		if now := s.keys(ctx, t); now["ca.crt"] == before["ca.crt"] || now["caBundle"] != now["ca.crt"] {
			return fmt.Errorf("after a rotation: got %v, want a new ca.crt, and the caBundle equal to it; before: %v", now, before)
		}
		return nil
	}))
}
