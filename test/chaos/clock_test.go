package chaos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// wrongClock is a label of the replica whose clock is off.
const wrongClock = "chaos/wrong-clock"

const (
	skewedName = "sts-webhook-skewed"
	clockAhead = 10 * time.Minute
	// clockSaid is the line that says so.
	clockSaid = "the node's clock is wrong"
	// certificateLife is the default of --cert-duration.
	certificateLife = 365 * 24 * time.Hour
)

// wrongClockReplica leaves a replica whose clock is off alone with the Secret and
// asks for a rotation: it carries it out, and what it makes is right by the clock of
// the apiserver.
func wrongClockReplica(ctx context.Context, a *attempt) error {
	if err := a.suite.addSkewed(ctx); err != nil {
		return err
	}
	a.hit = time.Now()
	if err := a.scale(ctx, 0); err != nil {
		return err
	}
	if err := a.drained(ctx, 0); err != nil {
		return err
	}
	alone := time.Now()
	if err := a.rotate(ctx); err != nil {
		return err
	}
	if err := a.checkLife(ctx); err != nil {
		return err
	}
	if err := a.checkSkewed(ctx); err != nil {
		return err
	}
	a.remark("it served alone for %.0f s, rotated, and its certificates hold the right times", time.Since(alone).Seconds())
	return a.scale(ctx, replicas)
}

// removeSkewed gives ours its ordinary replicas again.
func removeSkewed(ctx context.Context, s *suite) error {
	err := s.Client.AppsV1().Deployments(s.ours.namespace).Delete(ctx, skewedName, metav1.DeleteOptions{})
	return errors.Join(err, s.ours.scale(ctx, replicas))
}

func (s *suite) addSkewed(ctx context.Context) error {
	d, err := s.deployment(1, append([]string{"--clock-offset=" + clockAhead.String()}, quickFlags...))
	if err != nil {
		return err
	}
	labels := maps.Clone(d.Spec.Template.Labels)
	labels[wrongClock] = "true"
	d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = skewedName, labels, labels
	deployments := s.Client.AppsV1().Deployments(s.ours.namespace)
	if _, err := deployments.Create(ctx, d, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Deployment: %w", err)
	}
	return kit.Until(ctx, time.Minute, func(ctx context.Context) error {
		d, err := deployments.Get(ctx, skewedName, metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 1 {
			err = errors.New("the replica with the wrong clock is not ready")
		}
		return err
	})
}

// checkLife compares the new serving certificate with the right clock.
func (a *attempt) checkLife(ctx context.Context) error {
	data, err := a.data(ctx)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(data[crt], data[key])
	if err != nil {
		return fmt.Errorf("read new certificate: %w", err)
	}
	begin, end := pair.Leaf.NotBefore, pair.Leaf.NotAfter
	if now := time.Now(); begin.After(now) || end.After(now.Add(certificateLife)) || end.Before(now.Add(certificateLife-clockAhead/2)) {
		return fmt.Errorf("check the new certificate: it is valid from %s to %s, made at %s to live for %s", begin, end, now, certificateLife)
	}
	return nil
}

// checkSkewed reads metric and log of the replica with the wrong clock.
func (a *attempt) checkSkewed(ctx context.Context) error {
	list, err := a.client.CoreV1().Pods(a.namespace).List(ctx, metav1.ListOptions{LabelSelector: wrongClock})
	if err != nil || len(list.Items) != 1 {
		return fmt.Errorf("find the replica with the wrong clock: %d pods, %w", len(list.Items), err)
	}
	pod := list.Items[0]
	skew, err := a.suite.Gauge(ctx, pod, "sts_webhook_clock_skew_seconds")
	if err != nil {
		return err
	}
	if off := time.Duration(skew * float64(time.Second)); (off.Abs() - clockAhead).Abs() > 5*time.Second {
		return fmt.Errorf("read the skew of %s: got %s, want about %s", pod.Name, off, clockAhead)
	}
	if lines := a.suite.logs.with(a.begin, clockSaid); len(lines) != 1 || lines[0].Level != "ERROR" {
		return fmt.Errorf("check the line %q: got it %d times, want one of level ERROR: %v", clockSaid, len(lines), lines)
	}
	return nil
}
