package mutator

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counters returns the admission counters as "result/reason".
func counters(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for _, m := range family(t, reg, "sts_webhook_admission_total").GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if len(labels) != 2 {
			t.Errorf("got the labels %v, want result and reason", labels)
		}
		got[labels["result"]+"/"+labels["reason"]] = m.GetCounter().GetValue()
	}
	return got
}

func family(t *testing.T, reg *prometheus.Registry, name string) *dto.MetricFamily {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// atZero is every series of the counter.
func atZero() map[string]float64 {
	return map[string]float64{
		"ignored/": 0, "unchanged/": 0, "placed/": 0,
		"denied/PodMalformed": 0, "denied/PodUnnamed": 0, "denied/NameInvalid": 0, "denied/NoStatefulSet": 0, "denied/OrdinalInvalid": 0,
		"denied/PodIndexMismatch": 0, "denied/AnnotationMissing": 0, "denied/AnnotationMalformed": 0, "denied/AnnotationInvalid": 0,
		"error/NotReview": 0,
	}
}

func TestEverySeriesExistsAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	newHandler(reg)
	if diff := cmp.Diff(atZero(), counters(t, reg)); diff != "" {
		t.Errorf("counters differ (-want +got):\n%s", diff)
	}
	for _, name := range []string{"sts_webhook_admission_duration_seconds", "sts_webhook_admission_body_bytes"} {
		if n := len(family(t, reg, name).GetMetric()); n != 1 {
			t.Errorf("%s has %d series, want 1", name, n)
		}
	}
}

func TestEachRequestCountsOnce(t *testing.T) {
	object := func(old, new string) string {
		return reviewOf(strings.Replace(podJSON(webRule, ""), old, new, 1))
	}
	for series, body := range map[string]string{
		"ignored/":                   reviewOf(`{}`),
		"unchanged/":                 reviewOf(podJSON(webRule, `{"name":"node2"}`)),
		"placed/":                    string(goldenReview(t)),
		"denied/PodMalformed":        reviewOf(`[]`),
		"denied/NameInvalid":         object(`"name":"web-1"`, `"name":"Web 1"`),
		"denied/PodUnnamed":          object(`"name":"web-1"`, `"generateName":"web-"`),
		"denied/NoStatefulSet":       object(`StatefulSet`, `ReplicaSet`),
		"denied/OrdinalInvalid":      object(`web-1`, `web-01`),
		"denied/PodIndexMismatch":    object(`"labels":{`, `"labels":{"apps.kubernetes.io/pod-index":"2",`),
		"denied/AnnotationMissing":   object(`custom-node-selector`, `other`),
		"denied/AnnotationMalformed": reviewOf(podJSON(`{`, ``)),
		"denied/AnnotationInvalid":   reviewOf(podJSON(`{}`, ``)),
		"error/NotReview":            `{}`,
	} {
		t.Run(series, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			send(t, newHandler(reg), body)
			want := atZero()
			want[series] = 1
			if diff := cmp.Diff(want, counters(t, reg)); diff != "" {
				t.Errorf("counters differ (-want +got):\n%s", diff)
			}
			size := family(t, reg, "sts_webhook_admission_body_bytes").GetMetric()[0].GetHistogram()
			if size.GetSampleCount() != 1 || size.GetSampleSum() != float64(len(body)) {
				t.Errorf("got %d bodies of %v bytes, want 1 of %d", size.GetSampleCount(), size.GetSampleSum(), len(body))
			}
			answered := uint64(1)
			if strings.HasPrefix(series, "error/") {
				answered = 0
			}
			if got := family(t, reg, "sts_webhook_admission_duration_seconds").GetMetric()[0].GetHistogram().GetSampleCount(); got != answered {
				t.Errorf("got %d durations, want %d", got, answered)
			}
		})
	}
}

func TestDurationBucketsResolveFrom50MicrosecondsTo1Second(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newMetrics(reg)
	h.duration.Observe(0)
	var bounds []float64
	for _, b := range family(t, reg, "sts_webhook_admission_duration_seconds").GetMetric()[0].GetHistogram().GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
	}
	if bounds[0] != 50e-6 || bounds[len(bounds)-1] != 1 {
		t.Errorf("got the buckets %v", bounds)
	}
	for i := 1; i < len(bounds); i++ {
		if bounds[i] > 2.5*bounds[i-1] {
			t.Errorf("there is no bucket between %v and %v", bounds[i-1], bounds[i])
		}
	}
}
