package chaos

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// bootLimit is the promise: from the start of the container to the first pod.
const bootLimit = 3 * time.Second

// testFirstBoots installs ours again and again where nothing of it is left, and
// measures from the start of the first container's process to the end of the
// first creation that was placed. Creations are tried every 20 ms.
func (s *suite) testFirstBoots(t *testing.T) {
	n := 10
	if testing.Short() {
		n = 2
	}
	var all []time.Duration
	for range n {
		took, err := s.boot(s.Ctx)
		kit.Must(t, err)
		t.Logf("first admitted pod %.2f s after the start of the container", took.Seconds())
		all = append(all, took)
	}
	slices.Sort(all)
	if longest := all[len(all)-1]; longest > bootLimit {
		t.Errorf("first admitted pod: up to %v after the start of the container, want at most %v", longest, bootLimit)
	}
	at := func(p int) float64 { return all[min(len(all)-1, p*len(all)/100)].Seconds() }
	s.Remark("First boot, from the start of the container to the first admitted pod, %d fresh installations: "+
		"min %.2f s, median %.2f s, p95 %.2f s, max %.2f s.", len(all), at(0), at(50), at(95), at(100))
}

// boot is one first boot.
func (s *suite) boot(ctx context.Context) (time.Duration, error) {
	if err := s.Uninstall(ctx); err != nil {
		return 0, err
	}
	run, err := load.Start(ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: loadNamespace}})
	if err != nil {
		return 0, err
	}
	defer run.Stop()
	if err := s.apply(ctx); err != nil {
		return 0, err
	}
	var first time.Time
	err = kit.Until(ctx, 30*time.Second, func(context.Context) error {
		for _, sample := range run.Report().Samples {
			if sample.Outcome == load.Admitted {
				first = sample.End()
				return nil
			}
		}
		return errors.New("no pod was placed")
	})
	if err != nil {
		return 0, err
	}
	started, err := s.firstStart(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.WaitRollout(ctx); err != nil {
		return 0, err
	}
	return first.Sub(started), nil
}

// firstStart is when the first process of ours began.
func (s *suite) firstStart(ctx context.Context) (time.Time, error) {
	pods, err := s.ours.pods(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var first time.Time
	for _, pod := range pods {
		for _, pid := range process.All(pod, s.ours.program) {
			started, err := process.Started(pid)
			if err == nil && (first.IsZero() || started.Before(first)) {
				first = started
			}
		}
	}
	if first.IsZero() {
		return first, errors.New("find the start of the first container: no process runs")
	}
	return first, nil
}
