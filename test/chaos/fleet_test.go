package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// nextFormatAndBack rolls out a build whose record has the next format, and rolls it
// back. Rotations and damage happen while both builds serve, and while each is alone.
func nextFormatAndBack(a *attempt) {
	a.hit = time.Now()
	a.rollOut(nextFormatImage, a.rotate)
	a.rotate()
	if got := a.seen.newest(secretKind).rotation.Format; got != nextFormat {
		a.t.Fatalf("the record after a rotation by the next build: format %d, want %d", got, nextFormat)
	}
	signer := a.seen.signer()
	damage := func() {
		a.removeData()
		// Replicas of an older build leave it to newer ones for healLimit.
		a.remark("the emptied Secret was whole after %.1f s", a.awaitSigner(signer, 2*healLimit).Seconds())
	}
	a.rollOut(cluster.WebhookImageName, damage)
	damage()
	if got := a.seen.newest(secretKind).rotation.Format; got != nextFormat {
		a.remark("the older build alone wrote format %d", got)
	}
}

// rollOut changes the image, calls do as soon as a replica of it is ready among the
// others, and waits until the others are gone.
func (a *attempt) rollOut(image string, do func()) {
	a.patch(`{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`, a.deployment, image)
	a.Eventually(a.t, time.Minute, func() error {
		for _, pod := range a.pods() {
			if pod.Spec.Containers[0].Image == image && kit.Ready(pod) {
				return nil
			}
		}
		return errors.New("no replica of the new build is ready")
	})
	do()
	a.awaitScale(replicas)
	a.drained(replicas)
}

// refusedFor is how long writes are refused after a rotation was requested.
const refusedFor = 20 * time.Second

const overdueMetric = "sts_webhook_rotation_overdue_seconds"

// writesRefused takes the right to write the Secret away and requests a rotation.
// Nothing may end; it is said, and the rotation follows when the right is back.
func writesRefused(a *attempt) {
	before := restarts(a.pods()...)
	a.forbidWrites()
	a.hit = time.Now()
	if err := a.request(false, refusedFor); !errors.Is(err, context.DeadlineExceeded) {
		a.t.Fatalf("request a rotation that nobody may carry out: got %v, want no answer in %s", err, refusedFor)
	}
	overdue, err := a.Sum(a.Ctx, overdueMetric, nil)
	a.must(err)
	if overdue <= 0 {
		a.t.Errorf("%s: got %v, want more than 0 while a rotation cannot be written", overdueMetric, overdue)
	}
	if len(a.logs.with(a.hit, "forbidden")) == 0 {
		a.t.Error("no replica logged that the write of the Secret is forbidden")
	}
	given := time.Now()
	a.apply()
	a.awaitRotation(given, func(step string) {
		if step == rotateStep {
			a.remark("refused for %.0f s, rotated %.1f s after that", given.Sub(a.hit).Seconds(), time.Since(given).Seconds())
		}
	})
	if n := restarts(a.pods()...); n != before {
		a.t.Fatalf("restarts of the replicas: %d, %d before writes were refused", n, before)
	}
	a.must(a.settle(settleTimeout))
	// No replica still misses what another one has done.
	a.Eventually(a.t, 10*time.Second, func() error {
		overdue, err := a.Sum(a.Ctx, overdueMetric, nil)
		if err == nil && overdue > 0 {
			err = fmt.Errorf("%s: got %v after the rotation, want 0", overdueMetric, overdue)
		}
		return err
	})
}

// forbidWrites takes the right to write the Secret away; the manifests give it back.
func (a *attempt) forbidWrites() {
	roles := a.Client.RbacV1().Roles(a.namespace)
	role, err := roles.Get(a.Ctx, a.deployment, metav1.GetOptions{})
	a.must(err)
	i := slices.IndexFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "secrets") })
	if i < 0 {
		a.t.Fatal("change Role: it has no rule for Secrets")
	}
	role.Rules[i].Verbs = []string{"get", "list", "watch"}
	_, err = roles.Update(a.Ctx, role, metav1.UpdateOptions{})
	a.must(err)
}
