package alerts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// callers is how many calls to one replica are under way at once.
const callers = 4

// floodSet stands for the StatefulSet's name in the prepared review.
const floodSet = "flood0000000"

// flood calls one replica directly, as the apiserver does. Each call is a denial
// of another StatefulSet, so each is an event of its own.
type flood struct {
	suite  *suite
	review []byte // with floodSet in it
}

// usage is what a round of calls cost.
type usage struct {
	cpu      time.Duration // of the replica, per call
	p50, p99 time.Duration // of a call
	resident float64       // bytes, at the end
}

func (u usage) String() string {
	return fmt.Sprintf("CPU %.0f us per call, p50 %s, p99 %s, %.1f MiB", float64(u.cpu)/1e3, u.p50, u.p99, u.resident/(1<<20))
}

func (s *suite) newFlood(t *testing.T) *flood {
	t.Helper()
	f := &flood{suite: s}
	object, err := json.Marshal(pod(floodSet, 0, misspelt))
	kit.Must(t, err)
	no := false
	f.review, err = json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "00000000-0000-0000-0000-000000000002", Operation: admissionv1.Create, DryRun: &no, Namespace: s.namespace,
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: object},
		},
	})
	kit.Must(t, err)
	return f
}

// run makes n calls to one replica.
func (f *flood) run(t *testing.T, pod corev1.Pod, n int) usage {
	t.Helper()
	client, err := f.suite.ReplicaClient(f.suite.Ctx, pod, callers)
	kit.Must(t, err)
	defer client.CloseIdleConnections()
	cpu, _ := f.process(t, pod)
	took := make([]latencies, callers)
	var under sync.WaitGroup
	for c := range callers {
		under.Go(func() {
			for range n / callers {
				begin := time.Now()
				if err := f.call(client); err != nil {
					t.Error(err)
					return
				}
				took[c] = append(took[c], time.Since(begin))
			}
		})
	}
	under.Wait()
	after, resident := f.process(t, pod)
	all := slices.Concat(took...)
	if len(all) == 0 {
		t.Fatal("no call was answered")
	}
	slices.Sort(all)
	return usage{cpu: (after - cpu) / time.Duration(len(all)), p50: all.p(50), p99: all.p(99), resident: resident}
}

// call sends one review and wants a denial.
func (f *flood) call(client *http.Client) error {
	set := fmt.Sprintf("flood%07d", f.suite.reviews.Add(1))
	body := bytes.ReplaceAll(f.review, []byte(floodSet), []byte(set))
	response, err := client.Post(webhook.ReplicaURL, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"allowed":false`) {
		return fmt.Errorf("call replica: %s: %s", response.Status, answer)
	}
	return nil
}

// process is the CPU time that a replica has used and its resident memory.
func (f *flood) process(t *testing.T, pod corev1.Pod) (cpu time.Duration, resident float64) {
	t.Helper()
	families, err := f.suite.Metrics(f.suite.Ctx, pod)
	kit.Must(t, err)
	seconds := families["process_cpu_seconds_total"].GetMetric()[0].GetCounter().GetValue()
	return time.Duration(seconds * float64(time.Second)), families["process_resident_memory_bytes"].GetMetric()[0].GetGauge().GetValue()
}

// median takes each figure's own median.
func median(all []usage) usage {
	middle := func(less func(a, b usage) int) usage { return slices.SortedFunc(slices.Values(all), less)[len(all)/2] }
	out := middle(func(a, b usage) int { return int(a.cpu - b.cpu) })
	out.p50 = middle(func(a, b usage) int { return int(a.p50 - b.p50) }).p50
	out.p99 = middle(func(a, b usage) int { return int(a.p99 - b.p99) }).p99
	return out
}
