package rollout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	ctx := s.Ctx
	kit.Must(t, s.ours.settle(ctx))
	pod, err := s.ours.replica(ctx, anyPod)
	kit.Must(t, err)
	pid, err := process.PID(pod, s.ours.program)
	kit.Must(t, err)
	most, stop := watchMemory(t, pid)
	answers := s.postLargest(ctx, t, pod)
	if answers[http.StatusOK] == 0 || answers[http.StatusServiceUnavailable] == 0 || answers[http.StatusOK]+answers[http.StatusServiceUnavailable] != posters*postsEach {
		t.Errorf("answers to the largest bodies by status: %v, want 200 and 503 only, and both", answers)
	}
	s.createLargest(ctx, t)
	stop()
	limit := pod.Spec.Containers[0].Resources.Limits.Memory().Value()
	s.expectSurvivor(ctx, t, pod, limit)
	if most.Unreclaimable() > limit {
		t.Errorf("the replica held %d MiB, its limit is %d MiB", most.Unreclaimable()>>20, limit>>20)
	}
	if t.Failed() {
		return
	}
	s.Remark("%d bodies of 10 MiB posted to one replica by %d clients at once, then %d pods created at once through kube-apiserver, of 3 MiB as sent or 9 MiB as reviewed: %d answered, %d told to retry, all pods admitted, no restart; at most %d MiB that the kernel cannot reclaim, of the limit of %d MiB.",
		posters*postsEach, posters, podsAtOnce, answers[http.StatusOK], answers[http.StatusServiceUnavailable], most.Unreclaimable()>>20, limit>>20)
}

// expectSurvivor checks that the container did not restart and follows its limit.
func (s *suite) expectSurvivor(ctx context.Context, t *testing.T, pod corev1.Pod, limit int64) {
	t.Helper()
	now, err := s.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	kit.Must(t, err)
	// Another chapter may have killed it before.
	if n := now.Status.ContainerStatuses[0].RestartCount - pod.Status.ContainerStatuses[0].RestartCount; n != 0 || !kit.Ready(*now) {
		t.Errorf("restarted %d times, Ready %v, want a replica that lives on", n, kit.Ready(*now))
	}
	log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
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
	t.Error("the log does not tell the memory limit")
}

// watchMemory keeps the most that a process holds, until stop is called.
func watchMemory(t *testing.T, pid int) (most *process.Memory, stop func()) {
	most = &process.Memory{}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			m, err := process.ReadMemory(pid)
			if err != nil {
				t.Errorf("watch the replica: %v", err)
				return
			}
			if m.Unreclaimable() > most.Unreclaimable() {
				*most = m
			}
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	}()
	return most, sync.OnceFunc(func() { close(over); <-done })
}

// postLargest posts bodies of the largest size to one replica and counts the
// answers by status; zero is no answer.
func (s *suite) postLargest(ctx context.Context, t *testing.T, pod corev1.Pod) map[int]int {
	t.Helper()
	body := largeReview(t, largestBody)
	var all sync.WaitGroup
	var mu sync.Mutex // guards answers
	answers := map[int]int{}
	for range posters {
		all.Go(func() {
			for range postsEach {
				status, err := s.post(ctx, pod, body)
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

// post sends one body over a connection of its own.
func (s *suite) post(ctx context.Context, pod corev1.Pod, body []byte) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	raw, err := s.Cluster.Dialer("node-1")(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "8443"))
	if err != nil {
		return 0, err
	}
	defer raw.Close()
	deadline, _ := ctx.Deadline()
	if err := raw.SetDeadline(deadline); err != nil {
		return 0, err
	}
	// Whom we talk to is known: it is dialled by its own address.
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, io.MultiReader(strings.NewReader(fmt.Sprintf(
			"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))), bytes.NewReader(body)))
		sent <- err
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, errors.Join(err, raw.Close(), <-sent)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	// A refused body need not be sent to its end.
	_ = raw.Close()
	<-sent
	return response.StatusCode, nil
}

// largeReview is a review of exactly size bytes that places its pod.
func largeReview(t *testing.T, size int) []byte {
	t.Helper()
	text := `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":"","version":"v1","kind":"Pod"},` +
		`"resource":{"group":"","version":"v1","resource":"pods"},"name":"web-1","namespace":"x","operation":"CREATE","dryRun":true,"object":{"kind":"Pod","apiVersion":"v1",` +
		`"metadata":{"name":"web-1","labels":{"ab-build-different":"true"},"annotations":{"custom-node-selector":"{\"key\":\"name\",\"even\":\"a\",\"odd\":\"b\"}"},` +
		`"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"web","uid":"v","controller":true}]},"spec":{"containers":[{"name":"FILL"}]}}}}`
	fill := size - len(text) + len("FILL")
	return []byte(strings.Replace(text, "FILL", strings.Repeat("x", fill), 1))
}

// createLargest creates pods of the largest size through kube-apiserver, all at once.
func (s *suite) createLargest(ctx context.Context, t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for i := range podsAtOnce {
		all.Go(func() {
			made, err := s.createRaw(ctx, largestPodOf(i))
			if err != nil {
				t.Errorf("create pod %d: %v", i, err)
				return
			}
			if want := []string{"node1", "node2"}[i%2]; made.Spec.NodeSelector["name"] != want {
				t.Errorf("%s has node selector %v, want %s", made.Name, made.Spec.NodeSelector, want)
			}
		})
	}
	all.Wait()
}

// createRaw makes a dry run of a pod that is JSON already: Go's encoder would escape what it holds.
func (s *suite) createRaw(ctx context.Context, pod []byte) (corev1.Pod, error) {
	var made corev1.Pod
	err := s.Client.CoreV1().RESTClient().Post().Namespace(loadNamespace).Resource("pods").Param("dryRun", metav1.DryRunAll).
		SetHeader("Content-Type", "application/json").Body(pod).Do(ctx).Into(&made)
	return made, err
}

// largestPodOf is a pod of the largest size as it is sent, or, every fourth, as it reaches the webhook.
func largestPodOf(ordinal int) []byte {
	fill := strings.Repeat("x", largestPod)
	if ordinal%4 == 3 {
		fill = strings.Repeat("<", largestEscaped)
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"large-%d","labels":{%q:"true"},"annotations":{%q:%q},`+
		`"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"large","uid":"00000000-0000-0000-0000-000000000001","controller":true}]},`+
		`"spec":{"containers":[{"name":"pause","image":%q,"args":["%s"]}]}}`,
		ordinal, webhook.Label, webhook.Annotation, kit.ByParity, cluster.PauseImage, fill)
}
