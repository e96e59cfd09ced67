package chaos

import (
	"context"
	"fmt"
	"maps"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"sts-mutating-webhook/test/load"
)

// shot is one scenario on one target.
type shot struct {
	*target
	world *world
	// begin is when all was well, hit when the (last) damage was done.
	begin, hit time.Time
	// before is the signing CA before the event, bundle the caBundle, forbidden the number of requests
	// of our replicas that had been answered with 403.
	before    string
	bundle    string
	forbidden float64
	// kills are the times at which replicas were killed.
	kills []time.Time
	// writes counts the test's own writes to the two objects.
	writes  int
	remarks []string
	load    *load.Run
	report  load.Report
}

func (s *shot) remark(format string, args ...any) {
	s.remarks = append(s.remarks, fmt.Sprintf(format, args...))
}

// changeSecret damages the Secret.
func (s *shot) changeSecret(ctx context.Context, change func(*corev1.Secret)) error {
	secrets := s.client.CoreV1().Secrets(s.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret, err := secrets.Get(ctx, s.secret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(secret)
		s.hit = time.Now()
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: "chaos"})
		return err
	})
	if err != nil {
		return fmt.Errorf("damage Secret: %w", err)
	}
	s.writes++
	return nil
}

// changeData damages the Secret's data: each key is replaced or, by nil, removed.
func (s *shot) changeData(ctx context.Context, changes map[string][]byte) error {
	return s.changeSecret(ctx, func(secret *corev1.Secret) {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		for k, v := range changes {
			if v == nil {
				delete(secret.Data, k)
				continue
			}
			secret.Data[k] = v
		}
	})
}

func (s *shot) data(ctx context.Context) (map[string][]byte, error) {
	secret, err := s.client.CoreV1().Secrets(s.namespace).Get(ctx, s.secret, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Secret: %w", err)
	}
	return maps.Clone(secret.Data), nil
}

// changeBundle damages the caBundle.
func (s *shot) changeBundle(ctx context.Context, bundle []byte) error {
	configurations := s.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := configurations.Get(ctx, s.configuration, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for i := range config.Webhooks {
			config.Webhooks[i].ClientConfig.CABundle = bundle
		}
		s.hit = time.Now()
		_, err = configurations.Update(ctx, config, metav1.UpdateOptions{FieldManager: "chaos"})
		return err
	})
	if err != nil {
		return fmt.Errorf("damage caBundle: %w", err)
	}
	s.writes++
	return nil
}

// recreateConfiguration deletes the webhook configuration and creates it as the
// manifests do, without a caBundle, a second later.
func recreateConfiguration(ctx context.Context, s *shot) error {
	configurations := s.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := configurations.Get(ctx, s.configuration, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	fresh := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: config.Name, Labels: config.Labels}, Webhooks: config.Webhooks}
	for i := range fresh.Webhooks {
		fresh.Webhooks[i].ClientConfig.CABundle = nil
	}
	if err := configurations.Delete(ctx, s.configuration, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete configuration: %w", err)
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	s.hit = time.Now()
	if _, err := configurations.Create(ctx, fresh, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create configuration: %w", err)
	}
	s.writes += 2
	return nil
}

// fleetWrites are the versions of both objects since begin that the test did not make.
func (s *shot) fleetWrites() (secret, configuration int) {
	secrets, _ := s.seen.after(s.begin, "Secret")
	configurations, _ := s.seen.after(s.begin, "configuration")
	return len(secrets), len(configurations)
}

// wholeAfter is how long the Secret was damaged; false when it still is, or when
// another CA signs now.
func (s *shot) wholeAfter() (time.Duration, bool) {
	versions, _ := s.seen.after(s.hit, "Secret")
	damaged := false
	for _, v := range versions {
		good := !v.deleted && v.whole == nil && v.keyring.signer == s.before
		if damaged && good {
			return v.at.Sub(s.hit), true
		}
		damaged = damaged || !good
	}
	return 0, false
}

// bundleAfter is how long the caBundle was another one; false when it still is.
func (s *shot) bundleAfter() (time.Duration, bool) {
	versions, _ := s.seen.after(s.hit, "configuration")
	for i, v := range versions {
		if i > 0 && !v.deleted && v.bundle == s.bundle {
			return v.at.Sub(s.hit), true
		}
	}
	return 0, false
}

// sleep waits, or fails when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
