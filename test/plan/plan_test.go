package plan

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/test/kit"
)

var (
	// The default is the same in every run, so that a failure of the suite is one of the change at hand; make test-plan takes new ones.
	seed  = flag.Uint64("seed", 1, "seed of nodes and StatefulSets; 0 is a new one, which is printed")
	count = flag.Int("sets", 200, "number of random StatefulSets")
	only  = flag.Int("only", -1, "number of the only StatefulSet to try; -1 is all")
)

const (
	// batch is how many StatefulSets are there at once.
	batch = 100
	// settleTime bounds the wait for the pods of a batch, which takes some ten seconds.
	settleTime = 90 * time.Second
	// nudgeAfter is when the controller is made to look again.
	nudgeAfter = 30 * time.Second
	// maxReported bounds the StatefulSets that are printed in full.
	maxReported = 5
)

// outcomes are what the pods of a run of at least a hundred StatefulSets must have met.
var outcomes = []string{
	"pods on a node", "pods Pending", "pods Pending for taints", "pods Pending for the template's affinity", "pods Pending for their volume",
	"pods refused", "pods refused for their name", "StatefulSets blocked by a Pending pod", "pods of a new revision", "pods held back by a partition",
}

func TestEndToEndPlan(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: replay with -seed=%d -sets=%d", *seed, *seed, *count)
	s := setUp(t, 5*time.Minute+time.Duration(*count)*time.Second)
	s.startNodes(t, rand.New(rand.NewPCG(*seed, 0)))
	s.watch(t)
	var samples []*sample
	for i := range max(*count, *only+1) {
		if *only < 0 || *only == i {
			samples = append(samples, generate(*seed, i))
		}
	}
	if *only < 0 {
		s.testChecks(t, samples[:min(len(samples), batch)])
	}
	for some := range slices.Chunk(samples, batch) {
		begin := time.Now()
		s.try(t, some)
		t.Logf("%d StatefulSets compared in %.1f s", len(some), time.Since(begin).Seconds())
	}
	s.report(t, len(samples))
}

// try compares plan with what becomes of some samples, as they are created and as they are changed.
func (s *suite) try(t *testing.T, samples []*sample) {
	namespace := s.Namespace(t, "plan-")
	var sets, changed []*appsv1.StatefulSet
	byKey := map[types.NamespacedName]*sample{}
	for _, sample := range samples {
		for class := range sample.classes {
			s.covered[class]++
		}
		if sample.set.Namespace == "" {
			sample.set.Namespace = namespace
		}
		sets = append(sets, sample.set)
		byKey[keyOf(sample.set)] = sample
		if sample.next != nil {
			sample.next.Namespace = sample.set.Namespace
			changed = append(changed, sample.next)
		}
	}
	s.bindClaims(t, sets)
	begin := time.Now()
	planned := s.planFile(t, sets)
	for _, set := range sets {
		_, err := s.Client.AppsV1().StatefulSets(set.Namespace).Create(s.Ctx, set, metav1.CreateOptions{})
		kit.Must(t, err)
	}
	s.settle(t, byKey, sets, planned)
	s.sameLive(t, namespace, sets)
	t.Logf("compared as created after %.1f s", time.Since(begin).Seconds())

	planned = s.planFile(t, changed)
	s.replace(t, changed)
	s.settle(t, byKey, changed, planned)
	s.sameLive(t, namespace, changed)
	kit.Must(t, s.Client.CoreV1().Namespaces().Delete(s.Ctx, namespace, metav1.DeleteOptions{}))
	for _, set := range sets {
		if set.Namespace != namespace {
			kit.Must(t, s.Client.AppsV1().StatefulSets(set.Namespace).Delete(s.Ctx, set.Name, metav1.DeleteOptions{}))
		}
	}
}

// settle waits until nothing more becomes of the pods, and compares each with its plan.
func (s *suite) settle(t *testing.T, byKey map[types.NamespacedName]*sample, sets []*appsv1.StatefulSet, planned plans) {
	waiting := map[types.NamespacedName]string{}
	for _, set := range sets {
		waiting[keyOf(set)] = "not looked at"
	}
	nudge := time.Now().Add(nudgeAfter)
	look := func(ctx context.Context) (bool, error) {
		if now := time.Now(); now.After(nudge) {
			nudge = now.Add(nudgeAfter)
			if err := s.nudge(ctx, slices.Collect(maps.Keys(waiting))...); err != nil {
				return false, err
			}
		}
		for _, set := range sets {
			if _, still := waiting[keyOf(set)]; !still {
				continue
			}
			live, err := s.Client.AppsV1().StatefulSets(set.Namespace).Get(ctx, set.Name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			o := s.observe(live)
			if live.Status.ObservedGeneration < live.Generation {
				o.unsettled = "the controller has not seen it"
			}
			if waiting[keyOf(set)] = o.unsettled; o.unsettled == "" {
				delete(waiting, keyOf(set))
				s.compare(t, byKey[keyOf(set)], live, o, planned[keyOf(set)])
			}
		}
		return len(waiting) == 0, nil
	}
	if err := wait.PollUntilContextTimeout(s.Ctx, 500*time.Millisecond, settleTime, true, look); err != nil {
		for k, why := range waiting {
			t.Errorf("after %v the pods of StatefulSet %d (%s) are still not what they will be: %s\nplan: %s", settleTime, byKey[k].index, k.Name, why, text(planned[k]))
		}
		if len(waiting) == 0 {
			t.Fatal(err)
		}
	}
}

// nudge changes StatefulSets in a way that means nothing. The controller drops events when it has many, and what it was refused it
// tries again, and says again, after minutes; but at once when a StatefulSet changes.
func (s *suite) nudge(ctx context.Context, sets ...types.NamespacedName) error {
	for _, set := range sets {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"nudged":%q}}}`, time.Now().Format(time.RFC3339))
		if _, err := s.Client.AppsV1().StatefulSets(set.Namespace).Patch(ctx, set.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("nudge: %w", err)
		}
	}
	return nil
}

// compare counts what became of a StatefulSet, and fails the test if that is not what was planned.
func (s *suite) compare(t *testing.T, sample *sample, set *appsv1.StatefulSet, o observation, rows []plan.Row) {
	if o.blocked {
		s.covered["StatefulSets blocked by a Pending pod"]++
	}
	for _, one := range o.outcomes {
		s.count(set, one, rows)
		for _, difference := range compare(rows, one) {
			s.failed[sample.index] = true
			if len(s.failed) > maxReported {
				t.Errorf("StatefulSet %d, ordinal %d: %s", sample.index, one.ordinal, difference)
				continue
			}
			set.ManagedFields = nil
			t.Errorf("StatefulSet %d, ordinal %d: %s\nreplay: -seed=%d -only=%d\n--- the StatefulSet\n%s--- plan\n%s--- the pod\n%s",
				sample.index, one.ordinal, difference, *seed, sample.index, text(set), text(rows), text(one.pod))
		}
	}
}

// count notes what an outcome covers.
func (s *suite) count(set *appsv1.StatefulSet, o outcome, rows []plan.Row) {
	row, _ := find(rows, o.ordinal)
	switch {
	case o.pod == nil && strings.Contains(o.refusal, "denied the request"):
		s.covered["pods refused"]++
		return
	case o.pod == nil:
		s.covered["pods refused for their name"]++
		return
	case o.pod.Spec.NodeName != "":
		s.covered["pods on a node"]++
	default:
		s.covered["pods Pending"]++
		for field, class := range map[string]string{
			"spec.template.spec.tolerations": "pods Pending for taints", "spec.template.spec.affinity.nodeAffinity": "pods Pending for the template's affinity",
			claimsField: "pods Pending for their volume",
		} {
			if row != nil && slices.ContainsFunc(row.Problems, func(p plan.Problem) bool { return p.Field == field }) {
				s.covered[class]++
			}
		}
	}
	if set.Status.CurrentRevision != set.Status.UpdateRevision {
		class := "pods of a new revision"
		if o.pod.Labels[appsv1.ControllerRevisionHashLabelKey] == set.Status.CurrentRevision {
			class = "pods held back by a partition"
		}
		s.covered[class]++
	}
}

// sameLive checks that plan says the same of the StatefulSets in a file as of those in the cluster. The controller may end a
// rollout between the two commands, so that there is another current revision; they are asked again then.
func (s *suite) sameLive(t *testing.T, namespace string, sets []*appsv1.StatefulSet) {
	var diffs []string
	for range 3 {
		diffs = nil
		file, live := s.planFile(t, sets), s.planLive(t, namespace, sets)
		for _, set := range sets {
			if set.Namespace != namespace {
				continue
			}
			if diff := cmp.Diff(file[keyOf(set)], live[keyOf(set)]); diff != "" {
				diffs = append(diffs, fmt.Sprintf("StatefulSet %s: plan of the file and of the cluster differ (-file +cluster):\n%s", set.Name, diff))
			}
		}
		if len(diffs) == 0 {
			return
		}
	}
	for _, diff := range diffs {
		t.Error(diff)
	}
}

// report prints what was covered, and fails if something never was.
func (s *suite) report(t *testing.T, samples int) {
	var lines []string
	for _, what := range slices.Sorted(maps.Keys(s.covered)) {
		lines = append(lines, fmt.Sprintf("%6d %s", s.covered[what], what))
	}
	t.Logf("seed %d, %d StatefulSets, %d of them wrong; covered:\n%s", *seed, samples, len(s.failed), strings.Join(lines, "\n"))
	for _, what := range slices.Concat(classes, outcomes) {
		if s.covered[what] == 0 && samples >= 100 {
			t.Errorf("nothing covers: %s", what)
		}
	}
}

// text writes an object as YAML.
func text(object any) string {
	content, err := yaml.Marshal(object)
	if err != nil {
		return err.Error()
	}
	return string(content)
}
