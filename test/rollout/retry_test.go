package rollout

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// labelled is a pod for a stand-in.
func labelled(value string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "rollout-", Labels: map[string]string{"rollout-test": value}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: cluster.PauseImage}}},
	}
}

// testRetryAfter refuses each first call the way internal/server does, once with
// Retry-After and once, as the control, without.
func (s *suite) testRetryAfter(t *testing.T) {
	ctx := s.Ctx
	for _, test := range []struct {
		name, retryAfter string
		status           int
		calls            int32
		created          bool
	}{
		{"retry-503", "1", http.StatusServiceUnavailable, 2, true},
		{"retry-429", "1", http.StatusTooManyRequests, 2, true},
		{"no-retry-503", "", http.StatusServiceUnavailable, 1, false},
	} {
		server := startStandin(t, s, time.Minute, func(call int32, out http.ResponseWriter) bool {
			if call > 1 {
				return false
			}
			out.Header().Set("Connection", "close")
			if test.retryAfter != "" {
				out.Header().Set("Retry-After", test.retryAfter)
			}
			http.Error(out, "this replica is shutting down, try another one", test.status)
			return true
		})
		server.register(ctx, t, s, test.name)
		// kube-apiserver follows webhook configurations by a watch: until it has seen
		// this one, pods are created without a call.
		var err error
		seen := kit.Until(ctx, 10*time.Second, func(ctx context.Context) error {
			_, err = s.Client.CoreV1().Pods(loadNamespace).Create(ctx, labelled(test.name), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if server.calls.Load() == 0 {
				return context.DeadlineExceeded
			}
			return nil
		})
		if seen != nil {
			t.Errorf("%s: the webhook was never called", test.name)
			continue
		}
		if created := err == nil; created != test.created || server.calls.Load() != test.calls {
			t.Errorf("%s: created %v (%v) after %d calls, want %v after %d", test.name, created, err, server.calls.Load(), test.created, test.calls)
		}
		if !test.created && (err == nil || !strings.Contains(err.Error(), "failed calling webhook")) {
			t.Errorf("%s: got %v, want a failed call", test.name, err)
		}
	}
	if !t.Failed() {
		s.Remark("kube-apiserver repeats a call answered 503 or 429 with `Retry-After: 1`, and the pod is created at the second; without the header it refuses the pod after one call.")
	}
}
