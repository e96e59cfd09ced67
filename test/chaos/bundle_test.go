package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"sts-mutating-webhook/test/kit"
)

// changeBundle writes the caBundle, unless it is that already.
func (a *attempt) changeBundle(ctx context.Context, bundle []byte) error {
	configurations := a.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := configurations.Get(ctx, a.configuration, metav1.GetOptions{})
		if err != nil {
			return err
		}
		entry := a.entry(config)
		if entry == nil {
			return errors.New("no entry calls the webhook")
		}
		if bytes.Equal(entry.ClientConfig.CABundle, bundle) {
			return nil
		}
		entry.ClientConfig.CABundle = bundle
		hit := time.Now()
		if _, err = configurations.Update(ctx, config, metav1.UpdateOptions{FieldManager: fieldManager}); err == nil {
			a.hit = hit
			a.writes.Add(1)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("damage caBundle: %w", err)
	}
	return nil
}

func bundleEmptied(ctx context.Context, a *attempt) error { return a.changeBundle(ctx, nil) }

// bundleJunk is what the apiserver accepts as a caBundle and no client can use.
func bundleJunk(ctx context.Context, a *attempt) error {
	return a.changeBundle(ctx, []byte("-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n"))
}

func bundleForeign(ctx context.Context, a *attempt) error {
	data, err := foreign(a.dnsName())
	if err != nil {
		return err
	}
	return a.changeBundle(ctx, data[caCert])
}

// recreateConfiguration deletes the webhook configuration and creates it as the
// manifests do, without a caBundle, a second later.
func recreateConfiguration(ctx context.Context, a *attempt) error {
	configurations := a.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := configurations.Get(ctx, a.configuration, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	fresh := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: config.Name, Labels: config.Labels}, Webhooks: config.Webhooks}
	for i := range fresh.Webhooks {
		fresh.Webhooks[i].ClientConfig.CABundle = nil
	}
	deleted := time.Now()
	if err := configurations.Delete(ctx, a.configuration, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete configuration: %w", err)
	}
	if err := kit.Sleep(ctx, time.Second); err != nil {
		return err
	}
	a.hit = time.Now()
	a.expect(deleted, a.hit)
	if _, err := configurations.Create(ctx, fresh, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create configuration: %w", err)
	}
	a.writes.Add(2)
	return nil
}

// putBackEvery and putBackFor are the rhythm of a tool that applies an old manifest; in
// the short form it ends after putBackShort.
const (
	putBackEvery = 200 * time.Millisecond
	putBackFor   = 20 * time.Second
	putBackShort = 8 * time.Second
)

// putBack is a tool that applies the caBundle of an old manifest over and over, while
// a rotation begins, ends, and for a while after it.
func putBack(ctx context.Context, a *attempt) error {
	var both errgroup.Group
	previous, d := []byte(a.bundle), putBackShort
	if !testing.Short() {
		d = putBackFor
	}
	both.Go(func() error {
		tick := time.NewTicker(putBackEvery)
		defer tick.Stop()
		for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
			if err := a.changeBundle(ctx, previous); err != nil {
				return err
			}
		}
		return nil
	})
	both.Go(func() error { return a.rotate(ctx) })
	if err := both.Wait(); err != nil {
		return err
	}
	versions, _ := a.seen.after(a.begin, configKind)
	n := 0
	for _, v := range versions {
		if v.by == fieldManager {
			n++
		}
	}
	a.remark("put back %d times in %s", n, d)
	return nil
}

// recurs is the line about a repair that comes again and again.
const recurs = "repaired again and again"

// reportedOnce checks that one replica of the fleet said, once, that something else
// writes what is repaired, and that it named the test.
func reportedOnce(_ context.Context, a *attempt) error {
	lines := a.suite.logs.with(a.begin, recurs)
	if len(lines) != 1 {
		return fmt.Errorf("check the line %q: got it %d times from the fleet, want once: %v", recurs, len(lines), lines)
	}
	if lines[0].Manager != fieldManager {
		return fmt.Errorf("check the line %q: it names the field manager %q, want %q: %s", recurs, lines[0].Manager, fieldManager, lines[0].text)
	}
	a.remark("told once, with the culprit")
	return nil
}
