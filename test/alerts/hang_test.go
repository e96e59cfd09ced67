package alerts

import (
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
	"sts-mutating-webhook/test/load"
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
	s.sets++
	set := fmt.Sprintf("load%d", s.sets)
	var (
		under sync.WaitGroup
		mu    sync.Mutex // guards all
		all   round
	)
	pods := s.Client.CoreV1().Pods(s.namespace)
	ticker := time.NewTicker(time.Second / creationRate)
	defer ticker.Stop()
	for ordinal := range seconds * creationRate {
		due := <-ticker.C
		under.Go(func() {
			made, err := pods.Create(s.Ctx, pod(set, ordinal, kit.ByParity), metav1.CreateOptions{})
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
	kit.Must(t, pods.DeleteCollection(s.Ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: webhook.Label + "=true,!set"}))
	slices.Sort(all.latencies)
	return all
}

// testSilence has pods admitted as dry runs and looks for what must not be reported.
func (s *suite) testSilence(t *testing.T) {
	quiet := s.Namespace(t, "quiet")
	run, err := load.Start(s.Ctx, load.Options{
		Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: quiet}, Rate: creationRate, Limit: 100,
	})
	kit.Must(t, err)
	time.Sleep(2 * time.Second)
	report := run.Stop()
	if report.Count(load.Admitted) == 0 || report.Lost() > 0 {
		t.Errorf("dry runs: %s: %v", report, report.Causes())
	}
	if n := s.sum(t, "sts_webhook_alert_queue_length"); n != 0 {
		t.Errorf("%v lines wait after dry runs, want none", n)
	}
	texts := s.fleet.texts(s.Ctx, t)
	for _, never := range []string{quiet + "/", "replica started", "replica stopping", "started a replica", "is stopping a replica"} {
		if strings.Contains(texts, never) {
			t.Errorf("reported: %q", never)
		}
	}
	if !strings.Contains(texts, "["+clusterName+"] sts-webhook") {
		t.Error("no title holds the cluster's name")
	}
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
	s.hung = append(s.hung, s.create(t))
	hanging := s.replicaPods(t)[0]
	flood := s.newFlood(t)
	var with, without []usage
	for round := range rounds {
		order := []corev1.Pod{hanging, silent}
		if round%2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		for _, pod := range order {
			used := flood.run(t, pod, calls)
			t.Logf("%-7s %s", map[bool]string{true: "hangs", false: "silent"}[pod.Name == hanging.Name], used)
			if pod.Name == hanging.Name {
				with = append(with, used)
			} else {
				without = append(without, used)
			}
		}
	}
	a, b := median(with), median(without)
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

// hang makes the robot hang and waits until as many calls as there are replicas do.
func (s *suite) hang(t *testing.T) {
	t.Helper()
	s.fleet.behave(s.Ctx, t, dingtalktest.Hang)
	before := s.fleet.stats(s.Ctx, t).Calls
	s.Eventually(t, waitTimeout, func() error {
		s.deny(t, 1)
		if n := s.fleet.stats(s.Ctx, t).Calls - before; n < replicas {
			time.Sleep(500 * time.Millisecond)
			return fmt.Errorf("%d calls hang", n)
		}
		return nil
	})
}

// checkMemory looks at a replica that was given more events than it may keep.
func (s *suite) checkMemory(t *testing.T, pod corev1.Pod, used usage, events int) {
	t.Helper()
	families, err := s.Metrics(s.Ctx, pod)
	kit.Must(t, err)
	value := func(name string) float64 {
		m := families[name].GetMetric()[0]
		return m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	length, dropped := value("sts_webhook_alert_queue_length"), value("sts_webhook_alert_dropped_total")
	t.Logf("after %d distinct events: %.0f lines wait, %.0f events dropped and counted, resident memory %.1f MiB, heap in use %.1f MiB",
		events, length, dropped, used.resident/(1<<20), value("go_memstats_heap_inuse_bytes")/(1<<20))
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
		if err == nil && !slices.ContainsFunc(silent.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			err = fmt.Errorf("%s is not Ready", silent.Name)
		}
		return err
	})
	return *silent
}
