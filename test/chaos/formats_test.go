package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sts-mutating-webhook/test/kit"
)

// nextFormatAndBack rolls out a build whose record has the next format, and rolls it
// back. Rotations and damage happen while both builds serve, and while each is alone.
func nextFormatAndBack(ctx context.Context, a *attempt) error {
	a.hit = time.Now()
	if err := a.rollOut(ctx, nextFormatImage, a.rotate); err != nil {
		return fmt.Errorf("roll out the next format: %w", err)
	}
	if err := a.rotate(ctx); err != nil {
		return err
	}
	if got := a.seen.newest(secretKind).rotation.Format; got != nextFormat {
		return fmt.Errorf("read the record after a rotation by the next build: format %d, want %d", got, nextFormat)
	}
	signer := a.seen.signer()
	damaged := func(ctx context.Context) error { return a.damagedAndWhole(ctx, signer) }
	if err := a.rollOut(ctx, "sts-webhook:latest", damaged); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	if err := damaged(ctx); err != nil {
		return err
	}
	if got := a.seen.newest(secretKind).rotation.Format; got != nextFormat {
		a.remark("the older build alone wrote format %d", got)
	}
	return nil
}

// rollOut changes the image, calls do as soon as a replica of it is ready among the
// others, and waits until the others are gone.
func (a *attempt) rollOut(ctx context.Context, image string, do func(context.Context) error) error {
	if err := a.patch(ctx, `{"spec":{"template":{"spec":{"containers":[{"name":%q,"image":%q}]}}}}`, a.container, image); err != nil {
		return err
	}
	err := kit.Until(ctx, time.Minute, func(ctx context.Context) error {
		pods, err := a.pods(ctx)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if pod.Spec.Containers[0].Image == image && kit.Ready(pod) {
				return nil
			}
		}
		return errors.New("no replica of the new build is ready")
	})
	if err != nil {
		return err
	}
	if err := do(ctx); err != nil {
		return err
	}
	if err := a.awaitScale(ctx, replicas); err != nil {
		return err
	}
	return a.drained(ctx, replicas)
}

// damagedAndWhole empties the Secret and waits until the keys of before are back.
// Replicas of an older build leave that to newer ones for healLimit.
func (a *attempt) damagedAndWhole(ctx context.Context, signer string) error {
	if err := dataRemoved(ctx, a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*healLimit)
	defer cancel()
	v, err := a.seen.await(ctx, a.hit, secretKind, "the keys to come back", func(v version) bool { return v.isWhole() && v.keyring.signer == signer })
	if err != nil {
		return err
	}
	a.remark("the emptied Secret was whole after %.1f s", v.at.Sub(a.hit).Seconds())
	return nil
}

// reinstalled removes the newer record, which the older build does not rotate.
func reinstalled(ctx context.Context, s *suite) error { return s.reinstall(ctx) }
