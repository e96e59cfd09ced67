package chaos

import (
	"crypto/tls"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/process"
)

func nothing(a *attempt) { a.Pause(2 * time.Second) }

func oneReplica(a *attempt) {
	a.hit = time.Now()
	for _, n := range []int{1, replicas} {
		a.scale(n)
		a.awaitScale(int32(n))
		a.Pause(3 * time.Second)
	}
}

func rollingRestart(a *attempt) {
	a.hit = time.Now()
	a.restart()
	a.awaitScale(replicas)
}

// reapply is a pipeline that applies the manifests over and over.
func reapply(a *attempt) {
	a.hit = time.Now()
	for range 20 {
		a.apply()
	}
}

// nothingReported replaces every replica and removes the note on the Secret, so that
// the fleet has reported no repair yet.
func nothingReported(a *attempt) {
	note := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, reportAnnotation)
	_, err := a.Client.CoreV1().Secrets(a.namespace).Patch(a.Ctx, a.secret, types.MergePatchType, note, metav1.PatchOptions{})
	a.must(err)
	a.restart()
	a.awaitScale(replicas)
	a.drained(replicas)
	a.must(a.settle(settleTimeout))
}

// kill ends a replica without warning.
func (a *attempt) kill(pod corev1.Pod) {
	a.t.Helper()
	now := time.Now()
	a.expect(now, now.Add(deadFor), killed...)
	found := process.All(pod, a.program)
	if len(found) == 0 {
		a.t.Fatalf("kill %s: it has no process %s", pod.Name, a.program)
	}
	for _, pid := range found {
		a.must(unix.Kill(pid, unix.SIGKILL))
	}
}

// killAtEveryStep kills a replica as soon as the new CA signs, when the caBundle is
// being written, another one when the old CA is dropped, and the last one when the
// next rotation is requested.
func killAtEveryStep(a *attempt) {
	pods := a.pods()
	victims := map[string]int{rotateStep: 0, retireStep: 1}
	a.hit = time.Now()
	a.duringRotation(func(step string) { a.kill(pods[victims[step]]) })
	a.Pause(2 * time.Second)
	a.kill(pods[2])
	a.rotate()
}

// killThree kills the textbook's replicas in the same rhythm.
func killThree(a *attempt) {
	pods := a.pods()
	a.hit = time.Now()
	for _, pod := range pods {
		a.kill(pod)
		a.Pause(2 * time.Second)
	}
}

const (
	// wrongClock is a label of the replica whose clock is off.
	wrongClock = "chaos/wrong-clock"
	skewedName = "sts-webhook-skewed"
	clockAhead = 10 * time.Minute
	// clockSaid is the line that says so.
	clockSaid = "the node's clock is wrong"
	// certificateLife is the default of --cert-duration.
	certificateLife = 365 * 24 * time.Hour
)

// wrongClockReplica leaves a replica whose clock is off alone with the Secret and
// requests a rotation: it carries it out, and what it makes is right by the clock of
// the apiserver.
func wrongClockReplica(a *attempt) {
	a.addSkewed()
	a.hit = time.Now()
	a.scale(0)
	a.drained(0)
	alone := time.Now()
	a.rotate()
	a.checkLife()
	a.checkSkewed()
	a.remark("it served alone for %.0f s and rotated, and its certificates hold the right times", time.Since(alone).Seconds())
	a.scale(replicas)
}

// removeSkewed gives ours its ordinary replicas again.
func removeSkewed(a *attempt) {
	defer a.scale(replicas) // also if it cannot be deleted
	a.must(a.Client.AppsV1().Deployments(a.namespace).Delete(a.Ctx, skewedName, metav1.DeleteOptions{}))
}

func (a *attempt) addSkewed() {
	d := a.readDeployment(1, append([]string{"--clock-offset=" + clockAhead.String()}, quickFlags...))
	labels := maps.Clone(d.Spec.Template.Labels)
	labels[wrongClock] = "true"
	d.Name, d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = skewedName, labels, labels
	_, err := a.Client.AppsV1().Deployments(a.namespace).Create(a.Ctx, d, metav1.CreateOptions{})
	a.must(err)
	a.Kubectl(a.t, "wait", "--for=condition=Available", "--timeout=1m", "--namespace="+a.namespace, "deployment/"+skewedName)
}

// checkLife compares the new serving certificate with the right clock.
func (a *attempt) checkLife() {
	data := a.readSecret().Data
	pair, err := tls.X509KeyPair(data[crt], data[key])
	a.must(err)
	begin, end := pair.Leaf.NotBefore, pair.Leaf.NotAfter
	if now := time.Now(); begin.After(now) || end.After(now.Add(certificateLife)) || end.Before(now.Add(certificateLife-clockAhead/2)) {
		a.t.Fatalf("the new certificate is valid from %s to %s, made at %s to live for %s", begin, end, now, certificateLife)
	}
}

// checkSkewed reads metric and log of the replica with the wrong clock.
func (a *attempt) checkSkewed() {
	list, err := a.Client.CoreV1().Pods(a.namespace).List(a.Ctx, metav1.ListOptions{LabelSelector: wrongClock})
	a.must(err)
	if len(list.Items) != 1 {
		a.t.Fatalf("find the replica with the wrong clock: got %d pods, want 1", len(list.Items))
	}
	pod := list.Items[0]
	skew, err := a.Gauge(a.Ctx, pod, "sts_webhook_clock_skew_seconds")
	a.must(err)
	if off := time.Duration(skew * float64(time.Second)); (off.Abs() - clockAhead).Abs() > 5*time.Second {
		a.t.Fatalf("the skew of %s: got %s, want about %s", pod.Name, off, clockAhead)
	}
	if lines := a.logs.with(a.begin, clockSaid); len(lines) != 1 || lines[0].Level != "ERROR" {
		a.t.Fatalf("the line %q: got it %d times, want one of level ERROR: %v", clockSaid, len(lines), lines)
	}
}
