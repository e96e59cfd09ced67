package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// noCertificate is what the apiserver accepts as a caBundle and no client can use.
const noCertificate = "-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n"

// changeBundle writes the caBundle, unless it is that already.
func (a *attempt) changeBundle(bundle []byte) error {
	configurations := a.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := configurations.Get(a.Ctx, a.configuration, metav1.GetOptions{})
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
		if _, err = configurations.Update(a.Ctx, config, metav1.UpdateOptions{FieldManager: fieldManager}); err == nil {
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

// recreateConfiguration deletes the webhook configuration and creates it as the
// manifests do, without a caBundle, a second later.
func recreateConfiguration(a *attempt) {
	configurations := a.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := configurations.Get(a.Ctx, a.configuration, metav1.GetOptions{})
	a.must(err)
	meta := metav1.ObjectMeta{Name: config.Name, Labels: config.Labels}
	fresh := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: meta, Webhooks: config.Webhooks}
	for i := range fresh.Webhooks {
		fresh.Webhooks[i].ClientConfig.CABundle = nil
	}
	deleted := time.Now()
	a.must(configurations.Delete(a.Ctx, a.configuration, metav1.DeleteOptions{}))
	a.Pause(time.Second)
	a.hit = time.Now()
	a.expect(deleted, a.hit)
	_, err = configurations.Create(a.Ctx, fresh, metav1.CreateOptions{})
	a.must(err)
	a.writes.Add(2)
}

// recurs is the line about a repair that comes again and again.
const recurs = "repaired again and again"

// putBack is a tool that applies the caBundle of an old manifest over and over, while
// a rotation begins, ends, and for a while after it. One replica of the fleet says, once,
// that something else writes what is repaired, and names the tool.
func putBack(a *attempt) {
	var tool errgroup.Group
	previous, d := []byte(a.bundle), 20*time.Second
	if testing.Short() {
		d = 8 * time.Second
	}
	tool.Go(func() error {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
			if err := a.changeBundle(previous); err != nil {
				return err
			}
		}
		return nil
	})
	defer func() { _ = tool.Wait() }() // also if the rotation fails: what follows is not to be disturbed
	a.rotate()
	a.must(tool.Wait())
	n := 0
	for _, v := range a.seen.since(a.begin, configKind) {
		if v.by == fieldManager {
			n++
		}
	}
	a.remark("replaced %d times in %s", n, d)
	a.must(a.settle(settleTimeout))
	a.Pause(a.pause + time.Second) // another replica would follow
	lines := a.logs.with(a.begin, recurs)
	if len(lines) != 1 {
		a.t.Fatalf("the line %q: got it %d times from the fleet, want once: %v", recurs, len(lines), lines)
	}
	if lines[0].Manager != fieldManager {
		a.t.Fatalf("the line %q: it names the field manager %q, want %q: %s", recurs, lines[0].Manager, fieldManager, lines[0].text)
	}
	a.remark("reported once, with the field manager that writes there")
}
