package alerts

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
)

// callers is how many calls to one replica are under way at once.
const callers = 4

// usage is what a round of calls cost.
type usage struct {
	cpu      time.Duration // of the replica, per call
	p50, p99 time.Duration // of a call
	resident float64       // bytes, at the end
}

func (u usage) String() string {
	return fmt.Sprintf("CPU %.0f us per call, p50 %s, p99 %s, %.1f MiB", float64(u.cpu)/1e3, u.p50, u.p99, u.resident/(1<<20))
}

// flood makes n calls to one replica, as the apiserver does. Each is a denial of a pod of another
// StatefulSet, and so an event of its own.
func (s *suite) flood(t *testing.T, pod corev1.Pod, n int) usage {
	t.Helper()
	client, err := s.ReplicaClient(s.Ctx, pod, callers)
	kit.Must(t, err)
	defer client.CloseIdleConnections()
	review, before := s.review(t), s.sumOf(t, pod, "process_cpu_seconds_total")
	took := make([]latencies, callers)
	var calls errgroup.Group
	for c := range callers {
		calls.Go(func() error {
			for range n / callers {
				begin := time.Now()
				if err := s.call(client, review); err != nil {
					return err
				}
				took[c] = append(took[c], time.Since(begin))
			}
			return nil
		})
	}
	kit.Must(t, calls.Wait())
	all := slices.Concat(took...)
	slices.Sort(all)
	cpu := time.Duration((s.sumOf(t, pod, "process_cpu_seconds_total") - before) * float64(time.Second))
	return usage{cpu / time.Duration(len(all)), all.p(50), all.p(99), s.sumOf(t, pod, "process_resident_memory_bytes")}
}

// sumOf reads a metric of one replica.
func (s *suite) sumOf(t *testing.T, pod corev1.Pod, metric string) float64 {
	t.Helper()
	n, err := s.SumOf(s.Ctx, pod, metric, nil)
	kit.Must(t, err)
	return n
}

// median takes each figure's own median.
func median(all []usage) usage {
	middle := func(figure func(usage) time.Duration) usage {
		return slices.SortedFunc(slices.Values(all), func(a, b usage) int { return cmp.Compare(figure(a), figure(b)) })[len(all)/2]
	}
	out := middle(func(u usage) time.Duration { return u.cpu })
	out.p50 = middle(func(u usage) time.Duration { return u.p50 }).p50
	out.p99 = middle(func(u usage) time.Duration { return u.p99 }).p99
	return out
}
