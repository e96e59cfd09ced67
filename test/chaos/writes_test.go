package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// refusedFor is how long writes are refused after a rotation was asked for in vain.
const refusedFor = 20 * time.Second

const overdueMetric = "sts_webhook_rotation_overdue_seconds"

// writesRefused takes the right to write the Secret away and asks for a rotation.
// Nothing may end; it is said, and the rotation follows when the right is back.
func writesRefused(ctx context.Context, a *attempt) error {
	restarts, err := a.restarts(ctx)
	if err != nil {
		return err
	}
	verbs, err := a.setSecretVerbs(ctx, []string{"get", "list", "watch"})
	if err != nil {
		return err
	}
	defer func() { _, _ = a.setSecretVerbs(context.WithoutCancel(ctx), verbs) }()
	a.hit = time.Now()
	asking, cancel := context.WithTimeout(ctx, refusedFor)
	defer cancel()
	if err := a.request(asking, false); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ask for a rotation that nobody may carry out: got %v, want no answer in %s", err, refusedFor)
	}
	overdue, err := a.suite.Sum(ctx, overdueMetric, nil)
	if err != nil {
		return err
	}
	if overdue <= 0 {
		a.fail("%s: got %v, want more than 0 while a rotation cannot be written", overdueMetric, overdue)
	}
	if len(a.suite.logs.with(a.hit, "forbidden")) == 0 {
		a.fail("no replica logged that the write of the Secret is forbidden")
	}
	given := time.Now()
	if _, err := a.setSecretVerbs(ctx, verbs); err != nil {
		return err
	}
	v, err := a.rotatedAfter(ctx, given)
	if err != nil {
		return err
	}
	a.remark("asked for in vain for %.0f s, rotated %.1f s after the right was back", given.Sub(a.hit).Seconds(), v.at.Sub(given).Seconds())
	after, err := a.restarts(ctx)
	if err == nil && after != restarts {
		err = fmt.Errorf("count restarts of the replicas: %d, %d before writes were refused", after, restarts)
	}
	return err
}

// nothingOverdue checks that no replica still misses what another one has done.
func nothingOverdue(ctx context.Context, a *attempt) error {
	return kit.Until(ctx, 10*time.Second, func(ctx context.Context) error {
		overdue, err := a.suite.Sum(ctx, overdueMetric, nil)
		if err == nil && overdue > 0 {
			err = fmt.Errorf("%s: got %v after the rotation, want 0", overdueMetric, overdue)
		}
		return err
	})
}

// rotatedAfter waits for both steps of the rotation and returns the first.
func (a *attempt) rotatedAfter(ctx context.Context, t time.Time) (version, error) {
	if err := a.seen.awaitRotation(ctx, t, func(string) error { return nil }); err != nil {
		return version{}, err
	}
	return a.seen.await(ctx, t, secretKind, "the rotation", func(v version) bool { return v.rotation.Step == rotateStep })
}

// setSecretVerbs changes what the Role allows with the Secret, and returns what it did.
func (a *attempt) setSecretVerbs(ctx context.Context, verbs []string) ([]string, error) {
	roles := a.client.RbacV1().Roles(a.namespace)
	role, err := roles.Get(ctx, a.deployment, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Role: %w", err)
	}
	i := slices.IndexFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	if i < 0 {
		return nil, errors.New("change Role: it has no rule for Secrets")
	}
	before := role.Rules[i].Verbs
	role.Rules[i].Verbs = verbs
	if _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		return nil, fmt.Errorf("change Role: %w", err)
	}
	return before, nil
}

// restarts is how often the kubelets have restarted the replicas.
func (a *attempt) restarts(ctx context.Context) (int32, error) {
	pods, err := a.pods(ctx)
	if err != nil {
		return 0, err
	}
	n := int32(0)
	for _, pod := range pods {
		for _, status := range pod.Status.ContainerStatuses {
			n += status.RestartCount
		}
	}
	return n, nil
}
