package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// upgrade is one upgrade from the previous version and the way back.
type upgrade struct {
	*suite
	// previous is the directory of the previous version's manifests.
	previous  string
	namespace string
	there     *traffic
	back      *traffic
	// status is when kubectl rollout status of the upgrade would have ended.
	status time.Time
}

// testUpgrade leaves the previous version behind, so it is the last chapter.
func (s *suite) testUpgrade(t *testing.T) {
	ctx := s.Ctx
	previous := s.loadPrevious(ctx, t)
	for n := 1; ; n++ {
		u := &upgrade{suite: s, previous: previous, namespace: fmt.Sprintf("rollout-upgrade-%d", n)}
		u.run(ctx, t)
		there, back := u.there.lost(ctx, t), u.back.lost(ctx, t)
		t.Logf("upgrade: %s\nlost: %v\nway back: %s\nlost: %v", u.there, there, u.back, back)
		all := maps.Clone(there)
		maps.Copy(all, back)
		stall := max(longest(u.there.canary.Report()), longest(u.back.canary.Report()))
		if n < attempts && stall > stalled && onlyTimeouts(all) && !t.Failed() {
			t.Logf("repeated: the cluster took %.1f s for a pod that no webhook sees", stall.Seconds())
			continue
		}
		u.there.expect(t, there)
		u.back.expect(t, back)
		u.report()
		return
	}
}

func (u *upgrade) run(ctx context.Context, t *testing.T) {
	kit.Must(t, u.Uninstall(ctx)) // so that the previous version makes the first keys
	kit.Must(t, u.apply(ctx, u.previous))
	kit.Must(t, u.ours.settle(ctx))
	u.Namespace(t, u.namespace)
	t.Cleanup(func() {
		if err := u.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), u.namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	u.createSet(ctx, t, byParity)
	uids := u.upgrade(ctx, t)
	u.rotate(ctx, t) // so that the newer version makes the next keys
	u.goBack(ctx, t)
	if now := u.expectPlaced(ctx, t); !maps.Equal(now, uids) {
		t.Errorf("pods of the newer form: got %v after the way back, want those of before, %v", now, uids)
	}
}

// upgrade returns the uids of the pods of byList, whose StatefulSet is there before a version that knows its form.
func (u *upgrade) upgrade(ctx context.Context, t *testing.T) map[string]types.UID {
	t.Helper()
	keys := u.keys(ctx, t)
	u.there = startTraffic(ctx, t, u.suite, u.namespace)
	defer u.there.stop()
	u.createSet(ctx, t, byList)
	u.expectRefused(ctx, t)
	kit.Must(t, kit.Sleep(ctx, time.Second))
	kit.Must(t, u.apply(ctx, u.Path("manifests")))
	kit.Must(t, u.mix(ctx, u.there, cluster.WebhookImageName))
	kit.Must(t, u.ours.rolledOut(ctx))
	u.status = time.Now()
	kit.Must(t, u.ours.settle(ctx))
	uids := u.expectPlaced(ctx, t)
	kit.Must(t, kit.Sleep(ctx, time.Second))
	u.expectKeys(ctx, t, keys)
	return uids
}

// goBack undoes the rollout, and then applies the manifests of the previous version, for their permissions.
func (u *upgrade) goBack(ctx context.Context, t *testing.T) {
	t.Helper()
	keys := u.keys(ctx, t)
	u.back = startTraffic(ctx, t, u.suite, u.namespace)
	defer u.back.stop()
	kit.Must(t, kit.Sleep(ctx, 2*time.Second))
	_, err := u.Cluster.Kubectl(ctx, "rollout", "undo", "deployment/"+webhook.Deployment, "--namespace", webhook.Namespace)
	kit.Must(t, err)
	kit.Must(t, u.mix(ctx, u.back, previousImage))
	kit.Must(t, u.ours.rolledOut(ctx))
	kit.Must(t, u.apply(ctx, u.previous))
	kit.Must(t, u.ours.settle(ctx))
	kit.Must(t, kit.Sleep(ctx, time.Second))
	u.expectKeys(ctx, t, keys)
}

// mix pauses a rollout as soon as a replica of the image is Ready, until both versions have answered for mixedTime. On a fast
// machine they would be together for hardly longer than a second. There kube-apiserver also needs few connections, and goes on
// with those that it has: only bursts that need more than the 25 idle ones that it keeps reach the new replica.
func (u *upgrade) mix(ctx context.Context, pods *traffic, image string) error {
	err := kit.Until(ctx, waitTimeout, func(ctx context.Context) error {
		_, err := u.ours.replica(ctx, func(pod corev1.Pod) bool { return pod.Spec.Containers[0].Image == image })
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for a replica of %s: %w", image, err)
	}
	if err := u.ours.patch(ctx, `{"spec":{"paused":true}}`); err != nil {
		return err
	}
	burst := probesAtOnce
	mixed := kit.Until(ctx, 30*time.Second, func(ctx context.Context) error {
		both := pods.bothAnswered()
		if both >= mixedTime {
			return nil
		}
		burst = min(2*burst, maxProbes)
		pods.probe(ctx, burst)
		return fmt.Errorf("both versions have answered for %v, want %v", both, mixedTime)
	})
	return errors.Join(mixed, u.ours.patch(ctx, `{"spec":{"paused":false}}`))
}

func (u *upgrade) report() {
	u.rows = append(u.rows,
		newRow(event{name: "upgrade from the version before"}, []load.Report{u.there.dryRuns.Report()}),
		newRow(event{name: "`kubectl rollout undo` of it"}, []load.Report{u.back.dryRuns.Report()}))
	u.Remark("Upgrade from the version before, paused until both versions had answered for a while: they did for %.1f s. "+
		"After `kubectl rollout status` the old replicas, which drain, refused the last newer form at %+.1f s; the last pod of a StatefulSet that had waited for the upgrade was created at %+.1f s.",
		u.there.bothAnswered().Seconds(), u.there.refused.last.Sub(u.status).Seconds(), u.there.lastByList.Sub(u.status).Seconds())
}

func (u *upgrade) apply(ctx context.Context, manifests string) error {
	_, err := u.Cluster.Kubectl(ctx, "apply", "-f", manifests)
	return err
}

func (u *upgrade) createSet(ctx context.Context, t *testing.T, f form) {
	t.Helper()
	_, err := u.Client.AppsV1().StatefulSets(u.namespace).Create(ctx, unscheduled(f.set, setReplicas, f.rule), metav1.CreateOptions{})
	kit.Must(t, err)
}

// expectRefused waits until the StatefulSet of byList says why it has no pods.
func (u *upgrade) expectRefused(ctx context.Context, t *testing.T) {
	t.Helper()
	kit.Must(t, kit.Until(ctx, 10*time.Second, func(ctx context.Context) error {
		for _, message := range failedCreates(ctx, t, u.Client, u.namespace, byList.set) {
			if refusedAs(message, refusal) {
				return nil
			}
		}
		return fmt.Errorf("StatefulSet %s has no event that ends in %q", byList.set, refusal)
	}))
}

// expectPlaced waits until the StatefulSet controller has created the pods of byList, checks them and returns their uids. The
// controller waits twice as long before each attempt.
func (u *upgrade) expectPlaced(ctx context.Context, t *testing.T) map[string]types.UID {
	t.Helper()
	var pods *corev1.PodList
	kit.Must(t, kit.Until(ctx, time.Minute, func(ctx context.Context) (err error) {
		pods, err = u.Client.CoreV1().Pods(u.namespace).List(ctx, metav1.ListOptions{LabelSelector: "set=" + byList.set})
		if err == nil && len(pods.Items) != setReplicas {
			err = fmt.Errorf("%d of %d pods of %s created", len(pods.Items), setReplicas, byList.set)
		}
		return err
	}))
	uids := map[string]types.UID{}
	for _, pod := range pods.Items {
		uids[pod.Name] = pod.UID
		if text := byList.misplaced(&pod); text != "" {
			t.Error(text)
		}
	}
	return uids
}

// failedCreates are the messages of the events that say why pods of a StatefulSet were not created.
func failedCreates(ctx context.Context, t *testing.T, client kubernetes.Interface, namespace, set string) []string {
	t.Helper()
	events, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreate,involvedObject.kind=StatefulSet,involvedObject.name=" + set,
	})
	kit.Must(t, err)
	var messages []string
	for _, e := range events.Items {
		messages = append(messages, e.Message)
	}
	return messages
}

// refusedAs reports whether an event says that a pod was refused with this message; an empty one is said of none.
func refusedAs(event, message string) bool {
	return message != "" && strings.HasSuffix(event, " failed error: "+message)
}
