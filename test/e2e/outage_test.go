package e2e

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
)

const (
	// noReplicaLimit bounds the creation of a StatefulSet when there is no replica: connections are refused.
	noReplicaLimit = time.Second
	// installLimit bounds it during an installation. Until kube-proxy knows the new Service, packets to it are lost, and the kernel
	// sends them again after 1 s and 3 s.
	installLimit = 4 * time.Second
	// unansweredLimit bounds it when replicas accept connections and do not answer: the configuration's timeoutSeconds, and what the
	// creation itself takes.
	unansweredLimit = 5*time.Second + noReplicaLimit
)

// createMistake creates a StatefulSet whose pods would be refused, as a dry run, and says how long it took and whether it was
// refused.
func (s *suite) createMistake(ctx context.Context, namespace string) (took time.Duration, refused bool, err error) {
	begin := time.Now()
	_, err = s.Client.AppsV1().StatefulSets(namespace).Create(ctx, kit.StatefulSet("mistake", 1, misspelt), dryRun)
	took = time.Since(begin)
	if apierrors.IsInvalid(err) {
		return took, true, nil
	}
	return took, false, err
}

// installMeasured installs the webhook where it is not, and creates StatefulSets from the moment when the manifests are applied
// until the replicas check them: each is stored at once.
func (s *suite) installMeasured(ctx context.Context, t *testing.T, namespace string) error {
	t.Helper()
	begin := time.Now()
	if _, err := s.Apply(ctx); err != nil {
		return err
	}
	var rollout errgroup.Group
	rollout.Go(func() error {
		err := s.WaitRollout(ctx)
		t.Logf("kubectl apply to both replicas Ready: %.1f s", time.Since(begin).Seconds())
		return err
	})
	var slowest time.Duration
	unchecked := 0
	for ; ; unchecked++ {
		took, refused, err := s.createMistake(ctx, namespace)
		if err != nil {
			return errors.Join(err, rollout.Wait())
		}
		if refused {
			break
		}
		slowest = max(slowest, took)
		time.Sleep(10 * time.Millisecond)
	}
	checked := time.Since(begin)
	if err := rollout.Wait(); err != nil {
		return err
	}
	if unchecked == 0 {
		return errors.New("the first StatefulSet was checked already, so nothing was measured")
	}
	t.Logf("%d StatefulSets were let through unchecked, the slowest in %.0f ms; %.1f s after the apply they are checked",
		unchecked, slowest.Seconds()*1000, checked.Seconds())
	if slowest > installLimit {
		t.Errorf("the slowest creation took %v before the first check, want at most %v", slowest, installLimit)
	}
	return nil
}

// testOutage takes the replicas away while the configuration stays: first nobody answers on connections, then they are refused. No
// replica is left.
func (s *suite) testOutage(t *testing.T, namespace string) {
	s.testUnanswered(t, namespace)
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 0) }))
	var slowest time.Duration
	for range 20 {
		took, refused, err := s.createMistake(s.Ctx, namespace)
		if err != nil || refused {
			t.Errorf("without a replica: refused %t, error %v; want that it is stored unchecked", refused, err)
		}
		slowest = max(slowest, took)
	}
	t.Logf("without a replica 20 StatefulSets were let through unchecked, the slowest in %.0f ms", slowest.Seconds()*1000)
	if slowest > noReplicaLimit {
		t.Errorf("the slowest creation took %v without a replica, want at most %v", slowest, noReplicaLimit)
	}
	s.create(t, namespace, kit.StatefulSet("outage", 0, misspelt))
}

// testUnanswered stops the processes of all replicas for as long as one creation takes.
func (s *suite) testUnanswered(t *testing.T, namespace string) {
	kit.Must(t, s.within(s.WaitDrained)) // one that drains answers on connections that it has
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	var pids []int
	for _, pod := range replicas {
		pid, err := process.PID(pod, "/sts-webhook")
		kit.Must(t, err)
		pids = append(pids, pid)
	}
	signal := func(sig syscall.Signal) {
		for _, pid := range pids {
			kit.Must(t, syscall.Kill(pid, sig))
		}
	}
	defer func() {
		for _, pid := range pids { // whatever becomes of the others
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	signal(syscall.SIGSTOP)
	took, refused, err := s.createMistake(s.Ctx, namespace)
	signal(syscall.SIGCONT)
	t.Logf("with replicas that do not answer a StatefulSet was let through unchecked after %.2f s", took.Seconds())
	if err != nil || refused || took > unansweredLimit {
		t.Errorf("refused %t after %v, error %v; want that it is stored within %v", refused, took, err, unansweredLimit)
	}
}
