package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/rotator"
)

func oneReplica(ctx context.Context, s *shot) error {
	s.hit = time.Now()
	for _, n := range []int32{1, replicas} {
		if err := s.scale(ctx, int(n)); err != nil {
			return err
		}
		if err := s.awaitScale(ctx, n); err != nil {
			return err
		}
		if err := sleep(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// applied lets kubectl leave its own annotations on what other scenarios made anew.
func applied(ctx context.Context, w *world) error { return w.apply(ctx) }

// reapply is a pipeline that applies the manifests over and over.
func reapply(n int) event {
	return func(ctx context.Context, s *shot) error {
		s.hit = time.Now()
		for range n {
			if err := s.world.apply(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func apiserverGone(d time.Duration) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		if err := w.cluster.StopAPIServer(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, d); err != nil {
			return err
		}
		return w.cluster.StartAPIServer(ctx)
	}
}

// wrongClock is a label of the replica whose clock is off.
const wrongClock = "chaos/wrong-clock"

const (
	skewedName = "sts-webhook-skewed"
	clockAhead = 10 * time.Minute
)

// wrongClockReplica leaves a replica whose clock is off alone with the Secret and
// asks for a rotation: it must serve, refuse to rotate, and say so. Replicas with
// good clocks, once they are back, do what was asked.
func wrongClockReplica(ctx context.Context, s *shot) error {
	if err := s.world.addSkewed(ctx); err != nil {
		return err
	}
	s.hit = time.Now()
	if err := s.scale(ctx, 0); err != nil {
		return err
	}
	if err := s.drained(ctx, 0); err != nil {
		return err
	}
	alone := time.Now()
	err := s.requestInVain(ctx)
	if err == nil {
		_, err = s.checkSkewed(ctx)
	}
	if err != nil {
		return err
	}
	if steps, _ := s.seen.after(alone, "Secret"); len(steps) != 1 { // the request
		return fmt.Errorf("check that a wrong clock rotates nothing: the Secret was written %d times, want once, by the request", len(steps))
	}
	if err := s.scale(ctx, replicas); err != nil {
		return err
	}
	if err := s.seen.awaitRotation(ctx, alone, func(string) error { return nil }); err != nil {
		return err
	}
	s.remark("it served alone for %.0f s and refused to rotate", time.Since(alone).Seconds())
	return s.client.AppsV1().Deployments(s.namespace).Delete(ctx, skewedName, metav1.DeleteOptions{})
}

func (w *world) addSkewed(ctx context.Context) error {
	d, err := w.deployment(1, flags(briskFlags, "--clock-offset="+clockAhead.String()))
	if err != nil {
		return err
	}
	labels := maps.Clone(d.Spec.Template.Labels)
	labels[wrongClock] = "true"
	d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = skewedName, labels, labels
	deployments := w.client.AppsV1().Deployments(w.ours.namespace)
	if _, err := deployments.Create(ctx, d, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Deployment: %w", err)
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		d, err := deployments.Get(ctx, skewedName, metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 1 {
			err = errors.New("the replica with the wrong clock is not ready")
		}
		return err
	})
}

// requestInVain asks for a rotation that nobody may carry out.
func (s *shot) requestInVain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	s.writes++
	err := rotator.Request(ctx, s.world.requests, s.namespace, false, io.Discard)
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ask a replica with a wrong clock to rotate: got %v, want no answer in 8 s", err)
	}
	return nil
}

// checkSkewed reads metric and log of the replica with the wrong clock.
func (s *shot) checkSkewed(ctx context.Context) (time.Duration, error) {
	list, err := s.client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: wrongClock})
	if err != nil || len(list.Items) != 1 {
		return 0, fmt.Errorf("find the replica with the wrong clock: %d pods, %w", len(list.Items), err)
	}
	families, err := s.world.webhook.Metrics(ctx, list.Items[0])
	if err != nil {
		return 0, err
	}
	const metric = "sts_webhook_clock_skew_seconds"
	family := families[metric]
	if family == nil || len(family.Metric) != 1 {
		return 0, fmt.Errorf("read %s: there is none", metric)
	}
	skew := time.Duration(family.Metric[0].GetGauge().GetValue() * float64(time.Second))
	if (skew - clockAhead).Abs() > 5*time.Second {
		return skew, fmt.Errorf("%s: got %s, want about %s", metric, skew, clockAhead)
	}
	if !s.world.logs.holds(s.begin, "refusing to rotate") {
		return skew, errors.New("the replica with the wrong clock did not log that it refuses to rotate")
	}
	return skew, nil
}
