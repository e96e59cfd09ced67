package gate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/webhook"
)

// manySelector finds the pods of testMany.
const manySelector = "many=true"

// testMany places many pods that were stored during an outage. Their StatefulSet is of a
// kind that this cluster does not have, so that no controller touches them, and their
// nodes do not exist, so that none runs.
func (s *suite) testMany(t *testing.T) {
	const pods = 2000
	s.setPolicy(t, "gate")
	kit.Must(t, s.Scale(s.Ctx, 0))
	t.Cleanup(func() { // one request; kubectl would make thousands
		kit.Must(t, s.Client.CoreV1().Pods(namespace).DeleteCollection(context.WithoutCancel(s.Ctx),
			metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{LabelSelector: manySelector}))
	})
	var work errgroup.Group
	work.SetLimit(20)
	for i := range pods {
		pod := kit.OrphanPod("many", i, kit.ByParity)
		pod.Spec.NodeSelector = map[string]string{"nowhere": "true"}
		pod.Labels["many"] = "true" // manySelector
		work.Go(func() error {
			_, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, pod, metav1.CreateOptions{})
			return err
		})
	}
	kit.Must(t, work.Wait())
	if n := s.waiting(t); n != pods {
		t.Fatalf("%d pods wait behind the gate, want %d", n, pods)
	}
	acceptedBefore, rejectedBefore := s.patches(t)
	took, all := s.comeBack(t, manySelector, pods, 2*time.Minute)
	if !all {
		t.Fatalf("%d of %d pods still wait 2 min after the first Ready replica", s.waiting(t), pods)
	}
	largest := int64(0)
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	for _, pod := range replicas {
		pid, err := process.PID(pod, "/sts-webhook")
		kit.Must(t, err)
		m, err := process.ReadMemory(pid)
		kit.Must(t, err)
		largest = max(largest, m.Unreclaimable())
	}
	accepted, rejected := s.patches(t)
	accepted, rejected = accepted-acceptedBefore, rejected-rejectedBefore
	s.Remark("%d pods stored during an outage were placed within %.1f s after the first Ready replica, with %d patches, of which %d met another replica's; the largest replica then held %d MiB.",
		pods, took.Seconds(), accepted+rejected, rejected, largest>>20)
	if accepted != pods || rejected > pods/5 {
		t.Errorf("%d patches accepted, %d rejected, want %d and at most a fifth of that", accepted, rejected, pods)
	}
}

// waiting counts the pods of testMany that wait behind the gate.
func (s *suite) waiting(t *testing.T) (n int) {
	t.Helper()
	for _, pod := range s.podsWith(t, manySelector) {
		if len(pod.Spec.SchedulingGates) > 0 {
			n++
		}
	}
	return n
}

// patches counts, in the audit log, what the webhook's service account did to pods.
func (s *suite) patches(t *testing.T) (accepted, rejected int) {
	t.Helper()
	file, err := os.Open(s.Cluster.LogPath(cluster.Audit))
	kit.Must(t, err)
	defer file.Close()
	for lines := json.NewDecoder(file); ; {
		var event struct {
			User           struct{ Username string }
			Verb           string
			Stage          string
			ObjectRef      struct{ Resource, Name string }
			ResponseStatus struct{ Code int }
		}
		if err := lines.Decode(&event); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return accepted, rejected
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case event.Verb != "patch" || event.ObjectRef.Resource != "pods" || !strings.HasPrefix(event.ObjectRef.Name, "many-"):
		case !strings.HasSuffix(event.User.Username, ":"+webhook.Deployment) || event.Stage == "RequestReceived":
		case event.ResponseStatus.Code == 200:
			accepted++
		default:
			rejected++
		}
	}
}
