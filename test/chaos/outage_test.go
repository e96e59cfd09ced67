package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
)

// apiserverGone takes the apiserver away for a while.
func apiserverGone(d time.Duration) func(context.Context, []*attempt) error {
	return func(ctx context.Context, attempts []*attempt) error {
		return attempts[0].suite.withoutAPIServer(ctx, func() error { return kit.Sleep(ctx, d) })
	}
}

func (s *suite) withoutAPIServer(ctx context.Context, do func() error) error {
	if err := s.Cluster.KillDaemon(ctx, cluster.APIServer); err != nil {
		return err
	}
	failed := do()
	if err := s.Cluster.StartDaemon(ctx, cluster.APIServer); err != nil {
		return err
	}
	// With a leader election it would have ended by itself. One that lives on looks at
	// the nodes by what it knew before, and a minute later takes all of them for dead.
	if err := s.Cluster.KillDaemon(ctx, cluster.ControllerManager); err != nil {
		return err
	}
	if err := s.Cluster.StartDaemon(ctx, cluster.ControllerManager); err != nil {
		return err
	}
	return failed
}

// explainLimit is the promise: how long after its start a replica says what it waits for.
const explainLimit = 5 * time.Second

// startedWithoutAPIServer kills a replica while there is no apiserver. The kubelet
// starts it again; it must say why it is not ready, and become ready by itself.
func startedWithoutAPIServer(ctx context.Context, attempts []*attempt) error {
	a := attempts[0]
	pod, err := a.neverRestarted(ctx)
	if err != nil {
		return err
	}
	err = a.suite.withoutAPIServer(ctx, func() error {
		killed := time.Now()
		if err := a.kill(pod); err != nil {
			return err
		}
		return a.awaitExplanation(ctx, pod, killed)
	})
	if err != nil {
		return err
	}
	back := time.Now()
	// Until the endpoint is gone, calls reach a replica that has no certificate.
	err = kit.Until(ctx, settleTimeout, func(ctx context.Context) error {
		text, err := a.readyz(ctx, pod)
		if err == nil && text != "ok" {
			err = fmt.Errorf("%s is not ready: %s", pod.Name, text)
		}
		return err
	})
	a.remark("ready %.1f s after the apiserver was", time.Since(back).Seconds())
	return err
}

// neverRestarted is a replica that the kubelet restarts without delay.
func (a *attempt) neverRestarted(ctx context.Context) (corev1.Pod, error) {
	pods, err := a.pods(ctx)
	if err != nil {
		return corev1.Pod{}, err
	}
	for _, pod := range pods {
		if len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].RestartCount == 0 {
			return pod, nil
		}
	}
	return corev1.Pod{}, fmt.Errorf("find a replica that was never restarted: none of %d", len(pods))
}

// awaitExplanation waits until a replica that was started after the time says on
// /readyz and in its log which address does not answer, and how.
func (a *attempt) awaitExplanation(ctx context.Context, pod corev1.Pod, killed time.Time) error {
	const address, cause = "10.96.0.1:443", "connection refused"
	var started time.Time
	text := ""
	err := kit.Until(ctx, 30*time.Second, func(ctx context.Context) error {
		for _, pid := range process.All(pod, a.program) {
			if t, err := process.Started(pid); err == nil && t.After(killed) {
				started = t
			}
		}
		var err error
		if text, err = a.readyz(ctx, pod); err != nil {
			return err
		}
		if !strings.Contains(text, address) || !strings.Contains(text, cause) {
			return fmt.Errorf("/readyz of %s says %q, want %q and %q in it", pod.Name, text, address, cause)
		}
		return nil
	})
	if err != nil {
		return err
	}
	took := time.Since(started)
	a.measure("/readyz named the address and the cause", took, explainLimit)
	a.remark("/readyz named the address and the cause %.1f s after the start", took.Seconds())
	if err := kit.Sleep(ctx, 2*logInterval); err != nil {
		return err
	}
	for _, line := range a.suite.logs.with(started, address) {
		if line.pod == pod.Name && line.Level == "ERROR" && strings.Contains(line.text, cause) {
			a.measure("a line of the log named them", line.At.Sub(started), explainLimit)
			return nil
		}
	}
	a.fail("%s has no error line in its log with %q and %q", pod.Name, address, cause)
	return nil
}

// readyz asks a replica as the kubelet does, and returns what it says.
func (t *target) readyz(ctx context.Context, pod corev1.Pod) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8081/readyz", nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DialContext: t.cluster.Dialer("node-1"), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}
