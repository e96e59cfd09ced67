package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// waitTimeout bounds each wait for the cluster; what is waited for takes some
// seconds.
const waitTimeout = 90 * time.Second

// eventually is Eventually within waitTimeout.
func (s *suite) eventually(t *testing.T, done func() error) {
	t.Helper()
	s.Eventually(t, waitTimeout, done)
}

// within bounds one call by waitTimeout.
func (s *suite) within(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(s.Ctx, waitTimeout, fmt.Errorf("not done after %v", waitTimeout))
	defer cancel()
	return call(ctx)
}

// namespace makes a namespace in which pods can be created. It is deleted at the
// end of the test.
func (s *suite) namespace(t *testing.T) string {
	t.Helper()
	name := s.Namespace(t, "e2e-")
	t.Cleanup(func() {
		if err := s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(s.Ctx), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return name
}

// create creates a StatefulSet.
func (s *suite) create(t *testing.T, namespace string, set *appsv1.StatefulSet) *appsv1.StatefulSet {
	t.Helper()
	made, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
	return made
}

// dryRun creates nothing.
var dryRun = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

// apply creates a StatefulSet and waits until all its pods run.
func (s *suite) apply(t *testing.T, namespace string, set *appsv1.StatefulSet) (pods []corev1.Pod) {
	t.Helper()
	s.create(t, namespace, set)
	s.eventually(t, func() (err error) {
		pods, err = s.running(namespace, set.Name, int(*set.Spec.Replicas))
		return err
	})
	return pods
}

// running returns the pods of a StatefulSet. It is an error unless as many run.
func (s *suite) running(namespace, set string, replicas int) ([]corev1.Pod, error) {
	list, err := s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: kit.SetLabel + "=" + set})
	if err != nil {
		return nil, err
	}
	running := 0
	for _, pod := range list.Items {
		if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			running++
		}
	}
	if running != replicas || len(list.Items) != replicas {
		return nil, fmt.Errorf("%d of %d pods of %s run, want %d", running, len(list.Items), set, replicas)
	}
	return list.Items, nil
}

// changeRule replaces the rule of a StatefulSet.
func (s *suite) changeRule(namespace, name, rule string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:%q}}}}}`, webhook.Annotation, rule)
	_, err := s.Client.AppsV1().StatefulSets(namespace).Patch(s.Ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// uids are those of pods, by name.
func uids(pods []corev1.Pod) map[string]types.UID {
	all := map[string]types.UID{}
	for _, pod := range pods {
		all[pod.Name] = pod.UID
	}
	return all
}

// count adds a metric over the replicas and over its series with this label; an empty value means all.
func (s *suite) count(t *testing.T, metric, label, value string) float64 {
	t.Helper()
	var labels map[string]string
	if value != "" {
		labels = map[string]string{label: value}
	}
	n, err := s.Sum(s.Ctx, metric, labels)
	kit.Must(t, err)
	return n
}

// admitted is how many requests the webhook has answered, by result; an empty
// result means all.
func (s *suite) admitted(t *testing.T, result string) float64 {
	t.Helper()
	return s.count(t, "sts_webhook_admission_total", "result", result)
}

// expectQuietLogs reads what the replicas logged since they started: only lines of JSON, none of them an error. No container may have
// restarted, since what it logged before would be elsewhere.
func (s *suite) expectQuietLogs(t *testing.T) {
	t.Helper()
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	if len(replicas) != 2 {
		t.Errorf("%d replicas, want 2", len(replicas))
	}
	for _, pod := range replicas {
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount != 0 {
				t.Errorf("%s started %d times", pod.Name, status.RestartCount+1)
			}
		}
		log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(s.Ctx)
		kit.Must(t, err)
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		if len(lines) < 3 {
			t.Errorf("%s logged %d lines, too few to have started", pod.Name, len(lines))
		}
		for _, line := range lines {
			var entry struct{ Level, Msg string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
				t.Errorf("%s logged a line that is not JSON with a message: %s", pod.Name, line)
			}
			if entry.Level != "INFO" {
				t.Errorf("%s logged: %s", pod.Name, line)
			}
		}
	}
}
