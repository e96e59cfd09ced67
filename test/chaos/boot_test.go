package chaos

import (
	"errors"
	"slices"
	"testing"
	"time"

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
		took := (&attempt{target: s.ours, t: t}).boot()
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
func (a *attempt) boot() time.Duration {
	a.must(a.Uninstall(a.Ctx))
	run, err := load.Start(a.Ctx, load.Options{Target: load.Target{Config: a.Cluster.RESTConfig(), Namespace: loadNamespace}})
	a.must(err)
	defer run.Stop()
	a.apply()
	var first time.Time
	a.Eventually(a.t, 30*time.Second, func() error {
		samples := run.Report().Samples
		i := slices.IndexFunc(samples, func(s load.Sample) bool { return s.Outcome == load.Admitted })
		if i < 0 {
			return errors.New("no pod was placed")
		}
		first = samples[i].End()
		return nil
	})
	var started []time.Time
	for _, pod := range a.pods() {
		for _, pid := range process.All(pod, a.program) {
			if t, err := process.Started(pid); err == nil {
				started = append(started, t)
			}
		}
	}
	if len(started) == 0 {
		a.t.Fatal("find the start of the first container: no process runs")
	}
	a.must(a.WaitRollout(a.Ctx))
	return first.Sub(slices.MinFunc(started, time.Time.Compare))
}
