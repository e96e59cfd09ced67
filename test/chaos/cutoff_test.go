package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// cutOffFor is how long a replica is cut off after a CA was distrusted: longer than
// it trusts its memory without news.
const cutOffFor = 70 * time.Second

// untrusted is how an apiserver says that a certificate is none of the caBundle's.
const untrusted = "certificate signed by unknown authority"

// distrustCutOff distrusts the CA while one replica cannot reach the apiserver. That
// replica goes on serving the old certificate, and its address stays in the Service,
// so creations are lost until it is reconnected; nothing but a probe of the apiserver
// by every replica could prevent that. The old CA must not come back with it.
func distrustCutOff(ctx context.Context, a *attempt) error {
	pods, err := a.pods(ctx)
	if err != nil {
		return err
	}
	pod, old := pods[0], a.seen.newest(secretKind).keyring.cas
	if err := a.suite.Cluster.CutOff(ctx, pod.Spec.NodeName, pod.Status.PodIP); err != nil {
		return err
	}
	connected := false
	defer func() {
		if !connected {
			_ = a.suite.Cluster.Reconnect(context.WithoutCancel(ctx), pod.Spec.NodeName)
		}
	}()
	if err := distrust(ctx, a); err != nil {
		return err
	}
	distrusted := time.Now()
	if err := kit.Sleep(ctx, cutOffFor); err != nil {
		return err
	}
	if err := a.handshake(ctx, pod, []byte(a.bundle)); err != nil {
		return fmt.Errorf("check that %s was cut off: it does not serve the old certificate: %w", pod.Name, err)
	}
	if err := a.suite.Cluster.Reconnect(ctx, pod.Spec.NodeName); err != nil {
		return err
	}
	connected = true
	return a.reconnected(ctx, pod, old, distrusted)
}

// reconnected waits until the replica serves the new certificate, and checks that
// nothing else changed.
func (a *attempt) reconnected(ctx context.Context, pod corev1.Pod, old []string, distrusted time.Time) error {
	back := time.Now()
	err := kit.Until(ctx, settleTimeout, func(ctx context.Context) error {
		return a.handshake(ctx, pod, []byte(a.seen.newest(configKind).bundle))
	})
	if err != nil {
		return fmt.Errorf("wait for %s to serve the new certificate: %w", pod.Name, err)
	}
	served := time.Now()
	a.expect(a.hit, served, untrusted)
	a.remark("its replica served the new certificate %.1f s after it was reconnected", served.Sub(back).Seconds())
	if err := kit.Sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	for _, kind := range []string{secretKind, configKind} {
		versions, _ := a.seen.after(distrusted, kind)
		for _, v := range versions {
			if v.trusts(old) {
				return fmt.Errorf("the distrusted CA came back: %s", v)
			}
		}
	}
	if n := a.seen.signers(a.hit); n != 1 {
		return fmt.Errorf("the signer changed %d times, want once", n)
	}
	return nil
}

// countCutOff reports the losses, of which none may come after the reconnection.
func countCutOff(_ context.Context, a *attempt) error {
	if len(a.expected) == 0 {
		return errors.New("the scenario expects no losses")
	}
	lost := a.report.Count(load.Refused)
	a.remark("%d refused while the replica served the distrusted CA's certificate", lost)
	return nil
}
