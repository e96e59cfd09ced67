package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// outage is what became of pods while every replica was away.
type outage struct {
	policy             string
	load               load.Report
	refused, misplaced int           // of StatefulSets' pods; a pod may be refused more than once
	late               time.Duration // from the first Ready replica to the last pod in its place
	all                bool          // every pod was in its place at the end
}

// lateLimit is the promise: from the first Ready replica until every pod is placed.
const lateLimit = 2 * time.Second

func (s *suite) testOutage(t *testing.T) {
	length := 10 * time.Second
	if s.full {
		length = 10 * time.Minute
	}
	var rows []outage
	for _, policy := range []string{"Fail", "Ignore", "gate"} {
		t.Run(policy, func(t *testing.T) {
			rows = append(rows, s.outage(t, policy, length))
		})
	}
	if len(rows) != 3 {
		t.Fatalf("%d of 3 policies were measured", len(rows))
	}
	s.remark("%s", outageTable(rows, length))
	if r := rows[0]; r.load.Count(load.Refused) == 0 || r.refused == 0 || r.misplaced != 0 {
		t.Errorf("the control Fail: %+v refused, want some, and none misplaced", r.refused)
	}
	if r := rows[1]; r.load.Count(load.Unmutated) == 0 || r.misplaced == 0 || r.refused != 0 {
		t.Errorf("the control Ignore: %d misplaced, want some, and none refused", r.misplaced)
	}
	r := rows[2]
	if r.load.Lost() != 0 || r.refused != 0 || r.misplaced != 0 || !r.all || r.load.Count(load.Gated) == 0 {
		t.Errorf("the gate: %d of the load lost (%v), %d refused, %d misplaced, all placed: %v; want none, none, none, true",
			r.load.Lost(), r.load.Causes(), r.refused, r.misplaced, r.all)
	}
	if r.late > lateLimit {
		t.Errorf("the gate: the last pod was placed %s after the first Ready replica, want at most %s", r.late, lateLimit)
	}
}

// outage takes every replica away while pods are created, rolled and deleted.
func (s *suite) outage(t *testing.T, policy string, length time.Duration) outage {
	s.setPolicy(t, policy)
	defer s.setPolicy(t, "Fail")
	const before, during = 4, 8
	for _, set := range []string{"before", "during"} {
		s.deleteSet(t, set)
		s.kubectl(t, "delete", "events", "--namespace", namespace, "--field-selector=involvedObject.name="+set)
	}
	s.createSet(t, statefulSet("before", before, byParity))
	s.runs(t, "before", before)
	must(t, s.Scale(s.ctx, 0))
	run := s.startLoad(t)
	s.createSet(t, statefulSet("during", during, byParity))
	s.kubectl(t, "--namespace", namespace, "rollout", "restart", "statefulset/before")
	s.pause(length / 2)
	s.kubectl(t, "--namespace", namespace, "delete", "pods", "--selector=set=during", "--wait=false")
	s.pause(length / 2)
	r := outage{policy: policy, load: run.Stop()}
	pods := append(s.podsOf(t, "before"), s.podsOf(t, "during")...)
	for _, pod := range pods {
		if misplaced(pod) {
			r.misplaced++
		}
	}
	r.refused = s.failures(t, "before") + s.failures(t, "during")
	t.Logf("%s: load %v; %d pods stored, %d misplaced, %d refusals", policy, r.load.Causes(), len(pods), r.misplaced, r.refused)
	r.late, r.all = s.comeBack(t, before+during)
	if policy == "gate" {
		s.runs(t, "before", before)
		s.runs(t, "during", during)
	}
	return r
}

// comeBack brings the replicas back and waits at most half a minute for the pods.
func (s *suite) comeBack(t *testing.T, pods int) (late time.Duration, all bool) {
	t.Helper()
	s.kubectl(t, "--namespace", webhook.Namespace, "scale", "deployment/"+webhook.Deployment, "--replicas=2")
	var ready, last time.Time
	s.eventually(t, time.Minute, func() error {
		replicas, err := s.Replicas(s.ctx)
		if err != nil {
			return err
		}
		if ready = firstReady(replicas); ready.IsZero() {
			return fmt.Errorf("none of %d replicas is Ready", len(replicas))
		}
		return nil
	})
	end := time.Now().Add(30 * time.Second)
	for time.Now().Before(end) && !all && s.ctx.Err() == nil {
		n := 0
		for _, pod := range append(s.podsOf(t, "before"), s.podsOf(t, "during")...) {
			if placed(pod) {
				n++
			}
		}
		last, all = time.Now(), n == pods
		s.pause(20 * time.Millisecond)
	}
	must(t, s.WaitRollout(s.ctx))
	return max(0, last.Sub(ready)), all
}

// firstReady is when the first replica was seen Ready, now, or zero.
func firstReady(replicas []corev1.Pod) time.Time {
	for _, pod := range replicas {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return time.Now()
			}
		}
	}
	return time.Time{}
}

// setPolicy chooses what happens to a pod when no replica answers.
func (s *suite) setPolicy(t *testing.T, policy string) {
	t.Helper()
	if policy == "gate" {
		must(t, s.StartGate(s.ctx))
		s.eventually(t, time.Minute, func() error { return s.placersWork(s.ctx) })
		return
	}
	must(t, s.StopGate(s.ctx))
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":%q}]`, policy)
	_, err := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(s.ctx, webhook.Configuration, types.JSONPatchType, patch, metav1.PatchOptions{})
	must(t, err)
	s.pause(time.Second) // the apiserver follows
}

// placersWork returns nil when every replica says that it places pods.
func (s *suite) placersWork(ctx context.Context) error {
	replicas, err := s.Replicas(ctx)
	if err != nil {
		return err
	}
	for _, pod := range replicas {
		log, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return err
		}
		text := string(log)
		if strings.LastIndex(text, `"placing pods`) <= strings.LastIndex(text, `"no longer placing pods`) {
			return fmt.Errorf("%s does not place pods yet", pod.Name)
		}
	}
	return nil
}

func outageTable(rows []outage, length time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Every replica away for %s; 50 dry runs a second, two StatefulSets created, rolled and deleted meanwhile:\n\n", length)
	b.WriteString("| policy | dry runs refused | stored without selector | behind the gate | refusals of StatefulSets' pods | misplaced | placed after the first Ready replica |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		late := fmt.Sprintf("%.1f s", r.late.Seconds())
		if !r.all {
			late = "not all within 30 s"
		}
		fmt.Fprintf(&b, "| %s | %d of %d | %d | %d | %d | %d | %s |\n", r.policy, r.load.Count(load.Refused, load.Denied), len(r.load.Samples),
			r.load.Count(load.Unmutated, load.WrongSelector), r.load.Count(load.Gated), r.refused, r.misplaced, late)
	}
	return strings.TrimSpace(b.String())
}
