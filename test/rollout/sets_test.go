package rollout

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// form is a StatefulSet with a rule, and the nodes that the rule gives to its ordinals in turn.
type form struct {
	set, rule string
	nodes     []string
}

// Every version knows byParity, the previous version does not know byList. By their answers to byList, versions are distinguished.
var (
	byParity = form{"by-parity", kit.ByParity, []string{"node1", "node2"}}
	byList   = form{"by-list", `{"key": "name", "values": ["node1", "node2", "node3"]}`, []string{"node1", "node2", "node3"}}
	large    = form{"large", kit.ByParity, byParity.nodes}
)

// refusal is the answer of the previous version to byList.
const refusal = `admission webhook "sts-webhook.custom-system.svc" denied the request: annotation custom-node-selector: field "values" is unknown; ` +
	`write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"} in the StatefulSet's pod template`

// setReplicas is the size of the StatefulSets by-parity and by-list.
const setReplicas = 6

// misplaced says what is wrong with the node selector of a pod; empty if nothing is.
func (f form) misplaced(pod *corev1.Pod) string {
	var ordinal int
	if _, err := fmt.Sscanf(pod.Name, f.set+"-%d", &ordinal); err != nil {
		return fmt.Sprintf("%s is no pod of %s", pod.Name, f.set)
	}
	want := map[string]string{"name": f.nodes[ordinal%len(f.nodes)]}
	if maps.Equal(pod.Spec.NodeSelector, want) {
		return ""
	}
	return fmt.Sprintf("node selector of %s: got %v, want %v", pod.Name, pod.Spec.NodeSelector, want)
}

// createSet creates an opted-in StatefulSet whose pods are created, all at once, and that no node will take.
func (s *suite) createSet(t *testing.T, namespace string, f form, replicas int32) {
	t.Helper()
	set := kit.StatefulSet(f.set, replicas, f.rule)
	set.Spec.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "rollout.test/never"}}
	_, err := s.Client.AppsV1().StatefulSets(namespace).Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
}

// expectPlaced waits until the StatefulSet controller has created the pods of a StatefulSet, checks them and returns their uids.
func (s *suite) expectPlaced(t *testing.T, namespace string, f form, replicas int, limit time.Duration) map[string]types.UID {
	t.Helper()
	var pods *corev1.PodList
	s.Eventually(t, limit, func() (err error) {
		pods, err = s.Client.CoreV1().Pods(namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: kit.SetLabel + "=" + f.set})
		if err == nil && len(pods.Items) != replicas {
			err = fmt.Errorf("%d of %d pods of %s created", len(pods.Items), replicas, f.set)
		}
		return err
	})
	uids := map[string]types.UID{}
	for _, pod := range pods.Items {
		uids[pod.Name] = pod.UID
		if text := f.misplaced(&pod); text != "" {
			t.Error(text)
		}
	}
	return uids
}

// failedCreates are the messages of the events that say why pods of a StatefulSet were not created.
func (s *suite) failedCreates(t *testing.T, namespace string, f form) (messages []string) {
	t.Helper()
	events, err := s.Client.CoreV1().Events(namespace).List(s.Ctx, metav1.ListOptions{
		FieldSelector: "reason=FailedCreate,involvedObject.kind=StatefulSet,involvedObject.name=" + f.set,
	})
	kit.Must(t, err)
	for _, e := range events.Items {
		messages = append(messages, slices.Repeat([]string{e.Message}, int(max(e.Count, 1)))...)
	}
	return messages
}

// burstSize is how many pods are created at once.
const burstSize = 1000

func (s *suite) testBurst(t *testing.T) {
	client, err := load.NewClient(s.target(s.ours.optIn))
	kit.Must(t, err)
	report := load.Report{Samples: make([]load.Sample, burstSize)}
	begin := time.Now()
	var all sync.WaitGroup
	for i := range burstSize {
		all.Go(func() { report.Samples[i] = client.Create(s.Ctx, i, begin) })
	}
	all.Wait()
	t.Logf("%s %v", report, report.Causes())
	if n := report.Lost(); n > 0 {
		t.Errorf("lost %d: %v", n, report.Causes())
	}
	if n := report.Count(load.Admitted); n < burstSize/2 {
		t.Errorf("%d admitted, too few to prove anything: %v", n, report.Causes())
	}
	s.addRow(fmt.Sprintf("%d dry runs at once", burstSize), report)
}

// testLargeStatefulSet lets the real controller create pods that no node will
// take, so that only their creation costs anything.
func (s *suite) testLargeStatefulSet(t *testing.T) {
	const namespace = "rollout-large"
	s.temporary(t, namespace)
	begin := time.Now()
	s.createSet(t, namespace, large, burstSize)
	s.expectPlaced(t, namespace, large, burstSize, 5*time.Minute)
	took := time.Since(begin)
	refused := s.failedCreates(t, namespace, large)
	for _, message := range refused {
		t.Errorf("refused: %s", message)
	}
	event := fmt.Sprintf("StatefulSet of %d replicas, Parallel, in %.0f s", burstSize, took.Seconds())
	s.addCells(event, fmt.Sprintf("%d of %d", len(refused), burstSize), "–", "–")
}
