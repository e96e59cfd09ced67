package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/process"
)

// apiserverGone takes the apiserver away for a while.
func apiserverGone(attempts []*attempt) {
	a := attempts[0]
	a.withoutAPIServer(func() { a.Pause(time.Minute) })
}

func (a *attempt) withoutAPIServer(do func()) {
	a.must(a.Cluster.KillDaemon(a.Ctx, cluster.APIServer))
	defer func() {
		a.must(a.Cluster.StartDaemon(a.Ctx, cluster.APIServer))
		a.must(errors.Join(a.ours.record(), a.control.record()))
		// With a leader election it would have ended by itself. One that lives on looks at
		// the nodes by what it knew before, and a minute later takes all of them for dead.
		a.must(a.Cluster.KillDaemon(a.Ctx, cluster.ControllerManager))
		a.must(a.Cluster.StartDaemon(a.Ctx, cluster.ControllerManager))
	}()
	do()
}

// explainLimit is the promise: how long after its start a replica says what it waits for.
const explainLimit = 5 * time.Second

// startedWithoutAPIServer kills a replica while there is no apiserver. The kubelet
// starts it again; it must say why it is not ready, and become ready by itself.
func startedWithoutAPIServer(attempts []*attempt) {
	a := attempts[0]
	pods := a.pods()
	i := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return restarts(pod) == 0 }) // the kubelet restarts it without delay
	if i < 0 {
		a.t.Fatalf("find a replica that was never restarted: none of %d", len(pods))
	}
	a.withoutAPIServer(func() {
		killed := time.Now()
		a.kill(pods[i])
		a.awaitExplanation(pods[i], killed)
	})
	back := time.Now()
	// Until the endpoint is gone, calls reach a replica that has no certificate.
	a.Eventually(a.t, settleTimeout, func() error {
		text, err := a.readyz(pods[i])
		if err == nil && text != "ok" {
			err = fmt.Errorf("%s is not ready: %s", pods[i].Name, text)
		}
		return err
	})
	a.remark("ready %.1f s after the apiserver was", time.Since(back).Seconds())
}

// restarts is how often the kubelets have restarted replicas.
func restarts(pods ...corev1.Pod) (n int32) {
	for _, pod := range pods {
		for _, status := range pod.Status.ContainerStatuses {
			n += status.RestartCount
		}
	}
	return n
}

// awaitExplanation waits until a replica that was started after the time says on
// /readyz and in its log which address does not answer, and how.
func (a *attempt) awaitExplanation(pod corev1.Pod, killed time.Time) {
	const address, cause = "10.96.0.1:443", "connection refused"
	var started time.Time
	a.Eventually(a.t, 30*time.Second, func() error {
		for _, pid := range process.All(pod, a.program) {
			if t, err := process.Started(pid); err == nil && t.After(killed) {
				started = t
			}
		}
		text, err := a.readyz(pod)
		if err == nil && (!strings.Contains(text, address) || !strings.Contains(text, cause)) {
			err = fmt.Errorf("/readyz of %s says %q, want %q and %q in it", pod.Name, text, address, cause)
		}
		return err
	})
	took := time.Since(started)
	a.measure("/readyz named the address and the cause", took, explainLimit)
	a.remark("/readyz named the address and the cause %.1f s after the start", took.Seconds())
	a.Pause(2 * logInterval)
	lines := a.logs.since(started, func(line logLine) bool {
		return line.pod == pod.Name && line.Level == "ERROR" && strings.Contains(line.text, address) && strings.Contains(line.text, cause)
	})
	if len(lines) == 0 {
		a.t.Fatalf("%s has no error line in its log with %q and %q", pod.Name, address, cause)
	}
	a.measure("a line of the log named them", lines[0].at.Sub(started), explainLimit)
}

// readyz reads it from a replica as the kubelet does.
func (t *target) readyz(pod corev1.Pod) (string, error) {
	transport := &http.Transport{DialContext: t.Cluster.Dialer("node-1"), DisableKeepAlives: true}
	client := http.Client{Timeout: 2 * time.Second, Transport: transport}
	response, err := client.Get("http://" + pod.Status.PodIP + ":8081/readyz")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body)), err
}

// idleConnections is how many connections to a webhook an apiserver keeps: what is
// sent at once beyond them needs handshakes.
const idleConnections = 25

func startSecondAPIServer(a *attempt) {
	var err error
	a.second, err = a.Cluster.StartSecondAPIServer(a.Ctx, "/mutatingwebhookconfigurations/")
	a.must(err)
}

func killSecondAPIServer(a *attempt) {
	if second := a.second; second != nil {
		a.second = nil
		a.must(second.Kill(a.Ctx))
	}
}

// staleThroughRotation keeps a rotation and a distrust of the new CA from the second
// apiserver, which goes on calling the webhook by the caBundle of before both. All
// replicas are replaced meanwhile, so that its connections are new ones.
func staleThroughRotation(a *attempt) {
	begin := time.Now()
	a.second.Withhold()
	defer a.second.Deliver()
	a.rotate()
	a.distrust()
	a.restart()
	a.awaitScale(replicas)
	a.Pause(time.Second)
	client, err := kubernetes.NewForConfig(a.second.Config)
	a.must(err)
	// Resource version 0 means what the apiserver has, however old.
	cached := metav1.GetOptions{ResourceVersion: "0"}
	config, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(a.Ctx, a.configuration, cached)
	a.must(err)
	if got := string(a.bundleOf(config)); got != a.bundle {
		a.t.Fatalf("the caBundle of the second apiserver: got %v, want that of before the rotation, %v, or nothing is proved",
			fingerprints(got), fingerprints(a.bundle))
	}
	created := a.loads[1].Report().Since(begin).Samples
	a.remark("%d creations through the apiserver without news, in %.0f s", len(created), time.Since(begin).Seconds())
}

// stoppedThroughRotation stops the second apiserver, rotates, then distrusts the new
// CA, and lets that apiserver go on: with the caBundle of before both it calls the
// webhook for what has waited, on new connections. The textbook replaces its CA in
// the same time, in the only way it has.
func stoppedThroughRotation(attempts []*attempt) {
	a := attempts[0]
	// A call under way would be answered after the timeout of the stopped caller.
	for _, each := range attempts {
		each.loads[1].Hold()
	}
	stopped := time.Now()
	a.must(a.second.Pause())
	for _, each := range attempts {
		each.loads[1].Release()
	}
	if len(attempts) > 1 {
		attempts[1].removeData()
	}
	a.rotate()
	a.distrust()
	a.Pause(time.Second)
	a.must(a.second.Continue())
	continued := time.Now()
	a.Pause(3 * time.Second)
	waited := 0
	for _, s := range a.loads[1].Report().Samples {
		if s.Start.Before(continued) && s.End().After(continued) && s.Outcome != load.Unavailable {
			waited++
		}
	}
	a.remark("one apiserver was stopped for %.1f s and then answered %d creations that had waited", continued.Sub(stopped).Seconds(), waited)
	if waited < 2*idleConnections {
		a.t.Fatalf("creations that waited for the stopped apiserver: %d, want at least %d, or nothing is proved", waited, 2*idleConnections)
	}
}

// untrusted is how an apiserver says that a certificate is none of the caBundle's.
const untrusted = "certificate signed by unknown authority"

// distrustCutOff distrusts the CA while one replica cannot reach the apiserver. That
// replica goes on serving the old certificate, and its address stays in the Service,
// so creations are lost until it is reconnected; nothing but a probe of the apiserver
// by every replica could prevent that. The old CA must not come back with it.
func distrustCutOff(a *attempt) {
	pod, old := a.pods()[0], a.seen.newest(secretKind).keyring.cas
	a.must(a.Cluster.CutOff(a.Ctx, pod.Spec.NodeName, pod.Status.PodIP))
	// An error is that it is reconnected already.
	defer func() { _ = a.Cluster.Reconnect(context.WithoutCancel(a.Ctx), pod.Spec.NodeName) }()
	distrust(a)
	distrusted := time.Now()
	a.Pause(70 * time.Second) // longer than a replica trusts its memory without news
	if err := a.handshake(a.Ctx, pod, []byte(a.bundle)); err != nil {
		a.t.Fatalf("%s was not cut off: it does not serve the old certificate: %v", pod.Name, err)
	}
	a.must(a.Cluster.Reconnect(a.Ctx, pod.Spec.NodeName))
	back := time.Now()
	err := kit.Until(a.Ctx, settleTimeout, func(ctx context.Context) error {
		return a.handshake(ctx, pod, []byte(a.seen.newest(configKind).bundle))
	})
	if err != nil {
		a.t.Fatalf("wait for %s to serve the new certificate: %v", pod.Name, err)
	}
	served := time.Now()
	a.expect(a.hit, served, untrusted)
	a.remark("it served the new certificate %.1f s after it was reconnected", served.Sub(back).Seconds())
	a.Pause(5 * time.Second)
	for _, kind := range []string{secretKind, configKind} {
		for _, v := range a.seen.since(distrusted, kind) {
			if v.trusts(old) {
				a.t.Fatalf("the distrusted CA came back: %s", v)
			}
		}
	}
	a.countRotations(1)
}
