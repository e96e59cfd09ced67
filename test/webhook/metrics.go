package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
)

// Sum adds a counter or gauge over all replicas and over its series that carry
// the given labels; nil labels mean every series. A replica without the metric is
// an error.
func (w *Webhook) Sum(ctx context.Context, metric string, labels map[string]string) (float64, error) {
	replicas, err := w.Replicas(ctx)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, pod := range replicas {
		n, err := w.SumOf(ctx, pod, metric, labels)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// SumOf is Sum of one replica.
func (w *Webhook) SumOf(ctx context.Context, pod corev1.Pod, metric string, labels map[string]string) (float64, error) {
	families, err := w.Metrics(ctx, pod)
	if err != nil {
		return 0, err
	}
	family, found := families[metric]
	if !found {
		return 0, fmt.Errorf("read metrics of %s: there is no %s", pod.Name, metric)
	}
	return sum(family, labels), nil
}

func sum(family *dto.MetricFamily, labels map[string]string) (total float64) {
	for _, m := range family.Metric {
		if carries(m, labels) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func carries(m *dto.Metric, labels map[string]string) bool {
	found := 0
	for _, pair := range m.Label {
		if value, wanted := labels[pair.GetName()]; wanted && value == pair.GetValue() {
			found++
		}
	}
	return found == len(labels)
}

// Gauge is the value of a metric of one replica that has a single series.
func (w *Webhook) Gauge(ctx context.Context, pod corev1.Pod, metric string) (float64, error) {
	families, err := w.Metrics(ctx, pod)
	if err != nil {
		return 0, err
	}
	family := families[metric]
	if family == nil || len(family.Metric) != 1 {
		return 0, fmt.Errorf("read metrics of %s: there is no single %s", pod.Name, metric)
	}
	return family.Metric[0].GetGauge().GetValue(), nil
}

// Metrics reads /metrics of one replica.
func (w *Webhook) Metrics(ctx context.Context, pod corev1.Pod) (families map[string]*dto.MetricFamily, err error) {
	text, err := w.metricsText(ctx, pod)
	if err == nil {
		defer text.Close()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err = parser.TextToMetricFamilies(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", pod.Name, err)
	}
	return families, nil
}

func (w *Webhook) metricsText(ctx context.Context, pod corev1.Pod) (io.ReadCloser, error) {
	if w.Cluster.IsExisting() { // pods may have no address that this machine reaches
		return w.Client.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, "8080", "metrics", nil).Stream(ctx)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: w.Cluster.Dialer("node-1"), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, errors.New(response.Status)
	}
	return response.Body, nil
}
