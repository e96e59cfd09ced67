package alerts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// creationRate is pods per second that are really created, not as dry runs, which
// are never reported.
const creationRate = 50

// maxWaiting is the bound of the lines that wait in one replica when one namespace floods
// it: 50 refusals and one line for the others. What was placed and the webhook's own
// events have room beside.
const maxWaiting = 51 + 500 + 64

// latencies are those of calls, sorted.
type latencies []time.Duration

func (l latencies) p(percent int) time.Duration {
	return l[min(len(l)-1, len(l)*percent/100)].Round(100 * time.Microsecond)
}

// round is what became of one load through the apiserver. A pod that was refused
// because the webhook could not be called in time counts in both fields.
type round struct {
	latencies
	refused int
}

func (r round) String() string {
	return fmt.Sprintf("%d pods, p50 %s, p99 %s, %d refused", len(r.latencies), r.p(50), r.p(99), r.refused)
}

// create makes pods at a steady rate through the apiserver, times each from when
// it was due, and deletes them.
func (s *suite) create(t *testing.T) round {
	t.Helper()
	seconds := 4
	if !testing.Short() {
		seconds = 20
	}
	s.loads++
	set := fmt.Sprintf("load%d", s.loads)
	var (
		under sync.WaitGroup
		mu    sync.Mutex // guards all
		all   round
	)
	ticker := time.NewTicker(time.Second / creationRate)
	defer ticker.Stop()
	for ordinal := range seconds * creationRate {
		due := <-ticker.C
		under.Go(func() {
			made, err := s.createPod(s.namespace, set, ordinal, kit.ByParity)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			all.latencies = append(all.latencies, took)
			switch {
			case err != nil && strings.Contains(err.Error(), "failed calling webhook"):
				all.refused++
			case err != nil:
				t.Errorf("create pod: %v", err)
			case made.Spec.NodeSelector["name"] == "":
				t.Errorf("pod %s was not placed", made.Name)
			}
		})
	}
	under.Wait()
	loaded := metav1.ListOptions{LabelSelector: webhook.Label + "=true,!" + kit.SetLabel}
	kit.Must(t, s.Client.CoreV1().Pods(s.namespace).DeleteCollection(s.Ctx, metav1.DeleteOptions{}, loaded))
	slices.Sort(all.latencies)
	return all
}

// testHang compares a replica whose robot hangs with one that reports nothing,
// under the same calls.
func (s *suite) testHang(t *testing.T) {
	rounds, calls := 3, 3000
	if !testing.Short() {
		rounds, calls = 10, 10_000
	}
	silent := s.startSilent(t)
	s.hang(t)
	hanging := s.replicaPods(t)[0]
	used := map[string][]usage{}
	order := []corev1.Pod{hanging, silent}
	for range rounds {
		for _, pod := range order {
			u := s.flood(t, pod, calls)
			t.Logf("%s: %s", pod.Name, u)
			used[pod.Name] = append(used[pod.Name], u)
		}
		slices.Reverse(order)
	}
	with := used[hanging.Name]
	a, b := median(with), median(used[silent.Name])
	t.Logf("median of %d rounds of %d calls: robot hangs: %s; no alerts: %s; CPU per call x%.2f", rounds, calls, a, b, float64(a.cpu)/float64(b.cpu))
	if float64(a.cpu) > 1.4*float64(b.cpu)+20_000 {
		t.Errorf("CPU per call: %s with a robot that hangs, %s without alerts", a.cpu, b.cpu)
	}
	if a.p99 > 2*b.p99+20*time.Millisecond {
		t.Errorf("p99: %s with a robot that hangs, %s without alerts", a.p99, b.p99)
	}
	s.checkMemory(t, hanging, with[len(with)-1], rounds*calls)
	s.hung = append(s.hung, s.create(t))
	kit.Must(t, s.Client.CoreV1().Pods(webhook.Namespace).Delete(s.Ctx, silent.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
}

// hang makes the robot hang, waits until as many calls as there are replicas do, and
// makes a load.
func (s *suite) hang(t *testing.T) {
	t.Helper()
	s.fleet.Behave(dingtalktest.Hang)
	before := s.fleet.Stats().Calls
	s.Eventually(t, waitTimeout, func() error {
		s.deny(t)
		if n := s.fleet.Stats().Calls - before; n < replicas {
			time.Sleep(500 * time.Millisecond)
			return fmt.Errorf("%d calls hang", n)
		}
		return nil
	})
	s.hung = append(s.hung, s.create(t))
}

// checkMemory looks at a replica that was given more events than it may keep.
func (s *suite) checkMemory(t *testing.T, pod corev1.Pod, used usage, events int) {
	t.Helper()
	length, dropped := s.sumOf(t, pod, "sts_webhook_alert_queue_length"), s.sumOf(t, pod, "sts_webhook_alert_dropped_total")
	t.Logf("after %d distinct events: %.0f lines wait, %.0f events dropped and counted, resident memory %.1f MiB, heap in use %.1f MiB",
		events, length, dropped, used.resident/(1<<20), s.sumOf(t, pod, "go_memstats_heap_inuse_bytes")/(1<<20))
	if length > maxWaiting || length < 51 || dropped < float64(events)*0.9-maxWaiting {
		t.Errorf("%v lines wait and %v of %d events were dropped, want at most %d to wait and the rest dropped", length, dropped, events, maxWaiting)
	}
	if used.resident > 128<<20 {
		t.Errorf("resident memory: %.1f MiB, want at most two thirds of the limit of 192 MiB", used.resident/(1<<20))
	}
}

// startSilent runs one more webhook, beside the Service, that reports nothing.
func (s *suite) startSilent(t *testing.T) corev1.Pod {
	t.Helper()
	d, err := s.Client.AppsV1().Deployments(webhook.Namespace).Get(s.Ctx, webhook.Deployment, metav1.GetOptions{})
	kit.Must(t, err)
	silent := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "silent", Namespace: webhook.Namespace, Labels: map[string]string{"app": "silent"}},
		Spec:       d.Spec.Template.Spec,
	}
	silent.Spec.Containers[0].Args = append(slices.Clone(flags), "--alert-on=lifecycle", "--dingtalk-url-file=/nowhere")
	_, err = s.Client.CoreV1().Pods(webhook.Namespace).Create(s.Ctx, silent, metav1.CreateOptions{})
	kit.Must(t, err)
	s.Eventually(t, waitTimeout, func() error {
		silent, err = s.Client.CoreV1().Pods(webhook.Namespace).Get(s.Ctx, "silent", metav1.GetOptions{})
		if err == nil && !kit.Ready(*silent) {
			err = fmt.Errorf("%s is not Ready", silent.Name)
		}
		return err
	})
	return *silent
}

// testTurnOff deletes the Secret while the robot hangs: the worst moment.
func (s *suite) testTurnOff(t *testing.T) {
	s.turnOff(t)
	s.fleet.Behave(dingtalktest.OK)
	before := s.fleet.Stats().Calls
	s.off = append(s.off, s.create(t), s.create(t))
	s.awaitEmpty(t)
	if calls := s.fleet.Stats().Calls - before; calls != 0 {
		t.Errorf("the robot was called %d times after its Secret was deleted", calls)
	}
	for _, pod := range s.replicaPods(t) {
		if n := pod.Status.ContainerStatuses[0].RestartCount; n != 0 {
			t.Errorf("%s was restarted %d times", pod.Name, n)
		}
	}
}

// turnOff deletes the Secret of a robot that hangs. The replicas have noticed when
// they have forgotten what they could not send.
func (s *suite) turnOff(t *testing.T) {
	t.Helper()
	s.putSecretNow(t, alertSecret, nil)
	s.awaitEmpty(t)
}

// testLatencies compares creations through the apiserver. The spread of the rounds
// without alerts is the noise of the machine; the best round with a robot that
// hangs must lie within it, and no pod may be refused there. A call that waited for
// the robot would last as long as the webhook's timeout. The finer comparison is
// testHang's. The full form adds rounds in turn.
func (s *suite) testLatencies(t *testing.T) {
	for !testing.Short() && len(s.hung) < 5 {
		s.putSecretNow(t, alertSecret, dataOf(s.fleet))
		s.hang(t)
		s.turnOff(t)
		s.off = append(s.off, s.create(t))
	}
	if len(s.off) == 0 || len(s.hung) == 0 {
		t.Fatal("an earlier chapter made no load")
	}
	for _, r := range s.off {
		t.Log("no Secret:  ", r)
	}
	for _, r := range s.hung {
		t.Log("robot hangs:", r)
	}
	byP99 := func(a, b round) int { return cmp.Compare(a.p(99), b.p(99)) }
	worst, best := slices.MaxFunc(s.off, byP99), slices.MinFunc(s.hung, byP99)
	if best.p(99) > worst.p(99)+50*time.Millisecond || best.refused > 0 {
		t.Errorf("the best round while the robot hangs: %s; the worst without alerts: %s", best, worst)
	}
}
