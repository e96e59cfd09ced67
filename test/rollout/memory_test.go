package rollout

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/webhook"
)

const (
	largestBody = 10 << 20 // the server's limit
	// largestPod is just below what kube-apiserver takes from a client, 3 MiB.
	largestPod = 3<<20 - 16<<10
	// largestEscaped is just below what etcd stores, 1.5 MiB; as '<' it makes a review of 9 MiB.
	largestEscaped = 3<<19 - 16<<10
	// posters send at once, each several bodies; podsAtOnce come through kube-apiserver.
	posters, postsEach = 64, 4
	podsAtOnce         = 12
)

// testLargestBodies sends far more bytes at once than a replica may hold: directly
// to one replica, and as large pods through kube-apiserver.
func (s *suite) testLargestBodies(t *testing.T) {
	s.ours.settle(t)
	pod := s.ours.replica(t, nil)
	pid, err := process.PID(pod, s.ours.program)
	kit.Must(t, err)
	stop := process.WatchMemory(pid)
	answers := s.postLargest(t, pod)
	answered, refused := answers[http.StatusOK], answers[http.StatusServiceUnavailable]
	if answered == 0 || refused == 0 || answered+refused != posters*postsEach {
		t.Errorf("answers to the largest bodies by status: %v, want 200 and 503 only, and both", answers)
	}
	s.createLargest(t)
	most, err := stop()
	if err != nil {
		t.Errorf("watch the replica: %v", err)
	}
	limit := pod.Spec.Containers[0].Resources.Limits.Memory().Value()
	s.expectSurvivor(t, pod, limit)
	if most.Unreclaimable() > limit {
		t.Errorf("the replica held %d MiB, its limit is %d MiB", most.Unreclaimable()>>20, limit>>20)
	}
	if t.Failed() {
		return
	}
	s.Remark("%d clients at once posted %d bodies of 10 MiB to one replica: %d were answered 200, %d were answered 503 with `Retry-After`. "+
		"Then %d pods were created at once through kube-apiserver, of 3 MiB as sent or 9 MiB as reviewed, and all were admitted. "+
		"The replica did not restart. It held at most %d MiB that the kernel cannot reclaim, of its limit of %d MiB.",
		posters, posters*postsEach, answered, refused, podsAtOnce, most.Unreclaimable()>>20, limit>>20)
}

// expectSurvivor checks that the container did not restart and follows its limit.
func (s *suite) expectSurvivor(t *testing.T, pod corev1.Pod, limit int64) {
	t.Helper()
	now, err := s.Client.CoreV1().Pods(pod.Namespace).Get(s.Ctx, pod.Name, metav1.GetOptions{})
	kit.Must(t, err)
	// Another chapter may have killed it before.
	if n := now.Status.ContainerStatuses[0].RestartCount - pod.Status.ContainerStatuses[0].RestartCount; n != 0 || !kit.Ready(*now) {
		t.Errorf("restarted %d times, Ready %v, want a replica that lives on", n, kit.Ready(*now))
	}
	log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(s.Ctx)
	kit.Must(t, err)
	for line := range bytes.Lines(log) {
		var entry struct {
			Msg   string
			Bytes int64
		}
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "memory limit set from the cgroup" {
			if want := limit * 8 / 10; entry.Bytes < want-1 || entry.Bytes > want+1 {
				t.Errorf("GOMEMLIMIT is %d, want %d, four fifths of the limit", entry.Bytes, want)
			}
			return
		}
	}
	t.Error("the memory limit is not in the log")
}

// postLargest posts bodies of the largest size to one replica and counts the
// answers by status; zero is no answer.
func (s *suite) postLargest(t *testing.T, pod corev1.Pod) map[int]int {
	t.Helper()
	const head, tail = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"name":"large-1","namespace":"x","operation":"CREATE","dryRun":true,"object":`, `}}`
	fill := strings.Repeat("x", largestBody-len(head)-len(tail)-len(podWithArgument(1, "")))
	body := slices.Concat([]byte(head), podWithArgument(1, fill), []byte(tail))
	var all sync.WaitGroup
	var mu sync.Mutex // guards answers
	answers := map[int]int{}
	for range posters {
		all.Go(func() {
			for range postsEach {
				status, err := s.post(pod, body)
				if err != nil {
					t.Logf("post: %v", err)
				}
				mu.Lock()
				answers[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answers
}

// post sends one body over a connection of its own. The answer may come before the body was sent.
func (s *suite) post(pod corev1.Pod, body []byte) (int, error) {
	request, err := http.NewRequestWithContext(s.Ctx, http.MethodPost, "https://x/mutate", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	raw, err := s.Cluster.Dialer("node-1")(s.Ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "8443"))
	if err != nil {
		return 0, err
	}
	// Whom we talk to is known: it is dialled by its own address.
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(raw.SetDeadline(time.Now().Add(time.Minute)), request.Write(conn)) }()
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	// A refused body need not be sent to its end.
	_ = raw.Close()
	if sending := <-sent; err != nil {
		return 0, errors.Join(err, sending)
	}
	if response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
		return 0, errors.New("503 without Retry-After")
	}
	return response.StatusCode, nil
}

// createLargest creates pods of the largest size, as they are sent or, every fourth, as they reach the webhook, through
// kube-apiserver and all at once.
func (s *suite) createLargest(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for i := range podsAtOnce {
		fill := strings.Repeat("x", largestPod)
		if i%4 == 3 {
			fill = strings.Repeat("<", largestEscaped)
		}
		all.Go(func() {
			var made corev1.Pod
			// The client would encode an object, and escape what it holds.
			err := s.Client.CoreV1().RESTClient().Post().Namespace(loadNamespace).Resource("pods").Param("dryRun", metav1.DryRunAll).
				SetHeader("Content-Type", "application/json").Body(podWithArgument(i, fill)).Do(s.Ctx).Into(&made)
			if err != nil {
				t.Errorf("create pod %d: %v", i, err)
			} else if text := large.misplaced(&made); text != "" {
				t.Error(text)
			}
		})
	}
	all.Wait()
}

// podWithArgument is a pod of the StatefulSet large, in JSON, whose container has this argument.
func podWithArgument(ordinal int, argument string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"large-%d","labels":{%q:"true"},"annotations":{%q:%q},`+
		`"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"large","uid":"00000000-0000-0000-0000-000000000001","controller":true}]},`+
		`"spec":{"containers":[{"name":"pause","image":%q,"args":["%s"]}]}}`,
		ordinal, webhook.Label, webhook.Annotation, kit.ByParity, cluster.PauseImage, argument)
}
