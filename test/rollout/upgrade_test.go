package rollout

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// upgrade is one upgrade from the previous version and the way back.
type upgrade struct {
	*suite
	// previous is the directory of the previous version's manifests.
	previous    string
	namespace   string
	there, back *traffic
	// status is when kubectl rollout status of the upgrade would have ended, since the beginning of the traffic.
	status time.Duration
}

// testUpgrade leaves the previous version behind, so it is the last chapter.
func (s *suite) testUpgrade(t *testing.T) {
	previous := s.loadPrevious(t)
	for n := 1; ; n++ {
		u := &upgrade{suite: s, previous: previous, namespace: fmt.Sprintf("rollout-upgrade-%d", n)}
		u.run(t)
		there, back := u.there.lost(t), u.back.lost(t)
		t.Logf("upgrade: %s\nlost: %v\nway back: %s\nlost: %v", u.there, there, u.back, back)
		all := maps.Clone(there)
		maps.Copy(all, back)
		if !t.Failed() && machineStalled(t, n, max(u.there.stall, u.back.stall), all) {
			continue
		}
		u.there.expect(t, there)
		u.back.expect(t, back)
		s.addRow("upgrade from the version before", u.there.report)
		s.addRow("`kubectl rollout undo` of it", u.back.report)
		if t.Failed() {
			return
		}
		lastRefused := u.there.refused[len(u.there.refused)-1]
		s.Remark("The upgrade from the version before was paused until both versions had answered for a while: for %.1f s. "+
			"Times after the end of `kubectl rollout status`: the old replicas, which drain, refused the last newer form at %+.1f s; "+
			"the last pod of a StatefulSet that had waited for the upgrade was created at %+.1f s.",
			u.there.bothAnswered().Seconds(), (lastRefused - u.status).Seconds(), (u.there.lastByList - u.status).Seconds())
		return
	}
}

func (u *upgrade) run(t *testing.T) {
	t.Helper()
	kit.Must(t, u.Uninstall(u.Ctx)) // so that the previous version makes the first keys
	u.Kubectl(t, "apply", "-f", u.previous)
	u.ours.settle(t)
	u.temporary(t, u.namespace)
	u.createSet(t, u.namespace, byParity, setReplicas)
	// The controller waits twice as long before each attempt.
	expectPlaced := func() map[string]types.UID { return u.expectPlaced(t, u.namespace, byList, setReplicas, time.Minute) }
	var uids map[string]types.UID
	u.there = u.underTraffic(t, func(pods *traffic) {
		u.createSet(t, u.namespace, byList, setReplicas) // before a version that knows its form
		u.expectRefused(t)
		kit.Must(t, kit.Sleep(u.Ctx, time.Second))
		u.Kubectl(t, "apply", "-f", u.Path("manifests"))
		u.mix(t, pods, cluster.WebhookImageName)
		u.ours.rolledOut(t)
		u.status = time.Since(pods.begin)
		u.ours.settle(t)
		uids = expectPlaced()
	})
	u.rotate(t) // so that the newer version makes the next keys
	u.back = u.underTraffic(t, func(pods *traffic) {
		kit.Must(t, kit.Sleep(u.Ctx, 2*time.Second))
		u.Kubectl(t, "rollout", "undo", "deployment/"+webhook.Deployment, "--namespace", webhook.Namespace)
		u.mix(t, pods, previousImage)
		u.ours.rolledOut(t)
		u.Kubectl(t, "apply", "-f", u.previous) // for its permissions
		u.ours.settle(t)
	})
	if now := expectPlaced(); !maps.Equal(now, uids) {
		t.Errorf("pods of the newer form: got %v after the way back, want those of before, %v", now, uids)
	}
}

// underTraffic changes the version, and expects that nobody makes new keys meanwhile, or changes whom kube-apiserver trusts.
func (u *upgrade) underTraffic(t *testing.T, change func(*traffic)) *traffic {
	t.Helper()
	before := u.keys(t)
	pods := u.startTraffic(t, u.namespace)
	defer pods.stop()
	change(pods)
	kit.Must(t, kit.Sleep(u.Ctx, time.Second))
	if got := u.keys(t); !maps.Equal(got, before) || got["caBundle"] != got["ca.crt"] {
		t.Errorf("keys and caBundle: got %v, want them as before, %v", got, before)
	}
	return pods
}

// mix pauses a rollout as soon as a replica of the image is Ready, until both versions have answered for mixedTime. On a fast
// machine they would be together for hardly longer than a second. There kube-apiserver also needs few connections, and goes on
// with those that it has: only bursts that need more than the 25 idle ones that it keeps reach the new replica.
func (u *upgrade) mix(t *testing.T, pods *traffic, image string) {
	t.Helper()
	u.ours.replica(t, func(pod corev1.Pod) bool { return pod.Spec.Containers[0].Image == image })
	u.ours.patch(t, `{"spec":{"paused":true}}`)
	defer u.ours.patch(t, `{"spec":{"paused":false}}`)
	burst := probesAtOnce
	u.Eventually(t, 30*time.Second, func() error {
		both := pods.bothAnswered()
		if both >= mixedTime {
			return nil
		}
		burst = min(2*burst, maxProbes)
		pods.probe(u.Ctx, burst)
		return fmt.Errorf("both versions have answered for %v, want %v", both, mixedTime)
	})
}

// expectRefused waits until the StatefulSet of byList says why it has no pods.
func (u *upgrade) expectRefused(t *testing.T) {
	t.Helper()
	u.Eventually(t, 10*time.Second, func() error {
		for _, message := range u.failedCreates(t, u.namespace, byList) {
			if isRefusal(message) {
				return nil
			}
		}
		return fmt.Errorf("StatefulSet %s has no event that ends in %q", byList.set, refusal)
	})
}

// isRefusal reports whether an event says that the previous version refused a pod.
func isRefusal(event string) bool { return strings.HasSuffix(event, " failed error: "+refusal) }
