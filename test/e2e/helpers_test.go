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
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// byParity is the documentation's annotation.
const byParity = `{"key": "name", "even": "node1", "odd": "node2"}`

// waitTimeout bounds each wait for the cluster; what is waited for takes some
// seconds.
const waitTimeout = 90 * time.Second

// kubectl runs kubectl and returns its output.
func (s *suite) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Cluster.Kubectl(s.ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// must fails the test at once.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within bounds one call by waitTimeout.
func (s *suite) within(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, waitTimeout, fmt.Errorf("not done after %v", waitTimeout))
	defer cancel()
	return call(ctx)
}

// eventually waits until done returns nil.
func (s *suite) eventually(t *testing.T, done func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.ctx, 50*time.Millisecond, waitTimeout, true, func(ctx context.Context) (bool, error) {
		last = done(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, last)
	}
}

// namespace makes a namespace in which pods can be created. It is deleted at the
// end of the test.
func (s *suite) namespace(t *testing.T) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	made, err := s.Client.CoreV1().Namespaces().Create(s.ctx, object, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		if err := s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(s.ctx), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	s.eventually(t, func(ctx context.Context) error {
		_, err := s.Client.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return made.Name
}

// podImage does nothing; an existing cluster has another one.
var podImage = cluster.PauseImage

// podSpec does nothing and satisfies the Pod Security level "restricted".
func podSpec() corev1.PodSpec {
	user, no, yes := int64(65532), false, true
	return corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name: "pause", Image: podImage, ImagePullPolicy: corev1.PullIfNotPresent,
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		}},
	}
}

// statefulSet opts in with an annotation. All pods are created at once.
func statefulSet(name string, replicas int32, annotation string) *appsv1.StatefulSet {
	labels := map[string]string{"set": name}
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: name, PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"set": name, webhook.Label: "true"},
					Annotations: map[string]string{webhook.Annotation: annotation},
				},
				Spec: podSpec(),
			},
		},
	}
	return set
}

// ownedPod is what the StatefulSet controller would create. The owner need not
// exist, so it is for dry runs.
func ownedPod(set string, ordinal int, annotation string) *corev1.Pod {
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("%s-%d", set, ordinal),
			Labels:      map[string]string{webhook.Label: "true"},
			Annotations: map[string]string{webhook.Annotation: annotation},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "00000000-0000-0000-0000-000000000001", Controller: &yes,
			}},
		},
		Spec: podSpec(),
	}
}

// apply creates a StatefulSet and waits until all its pods run.
func (s *suite) apply(t *testing.T, namespace string, set *appsv1.StatefulSet) []corev1.Pod {
	t.Helper()
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.ctx, set, metav1.CreateOptions{})
	must(t, err)
	var pods []corev1.Pod
	s.eventually(t, func(ctx context.Context) error {
		list, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "set=" + set.Name})
		if err != nil {
			return err
		}
		pods = list.Items
		running := 0
		for _, pod := range pods {
			if pod.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if running != int(*set.Spec.Replicas) {
			return fmt.Errorf("%d of %d pods of %s run", running, *set.Spec.Replicas, set.Name)
		}
		return nil
	})
	return pods
}

// admitted is how many requests the webhook has answered, by result; an empty
// result means all.
func (s *suite) admitted(t *testing.T, result string) float64 {
	t.Helper()
	var labels map[string]string
	if result != "" {
		labels = map[string]string{"result": result}
	}
	n, err := s.Sum(s.ctx, "sts_webhook_admission_total", labels)
	must(t, err)
	return n
}

// expectQuietLogs reads what the replicas logged since they started: only lines
// of JSON, none of them an error. No replica may have started twice, since the
// log of its first life would be elsewhere.
func (s *suite) expectQuietLogs(t *testing.T) {
	t.Helper()
	replicas, err := s.Replicas(s.ctx)
	must(t, err)
	if len(replicas) != 2 {
		t.Errorf("%d replicas, want 2", len(replicas))
	}
	for _, pod := range replicas {
		for _, status := range pod.Status.ContainerStatuses {
			if status.RestartCount != 0 {
				t.Errorf("%s started %d times", pod.Name, status.RestartCount+1)
			}
		}
		log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(s.ctx)
		must(t, err)
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
