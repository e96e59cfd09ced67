package plan

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"sts-mutating-webhook/internal/plan"
)

// outcome is what became of an ordinal.
type outcome struct {
	ordinal int32
	// pod is nil if there is none: it was refused, or nobody tried to create it.
	pod *corev1.Pod
	// refusal is the message of the event FailedCreate; empty: none.
	refusal string
}

// Paths of problems in which plan says more than a row's nodes do.
const (
	claimsField   = "spec.volumeClaimTemplates"
	nameField     = "metadata.name"
	nodeNameField = "spec.template.spec.nodeName"
)

// compare says where an outcome is not what plan foretold. planned are the rows of one StatefulSet.
func compare(planned []plan.Row, o outcome) []string {
	row, whole := find(planned, o.ordinal)
	switch {
	case o.refusal != "" && !foretold(o.refusal, whole, row):
		return []string{"it was refused, and plan does not say so: " + o.refusal}
	case o.pod == nil:
		return nil
	case row == nil:
		return []string{"there is a pod, and plan has no row for it"}
	case row.Refused():
		return []string{"there is a pod, and plan says that it will be refused"}
	}
	return append(compareSpec(row, &o.pod.Spec), compareNode(row, o.pod)...)
}

// find returns the row of an ordinal, which may be nil, and what plan says of the StatefulSet as a whole.
func find(planned []plan.Row, ordinal int32) (row *plan.Row, whole []plan.Problem) {
	for i := range planned {
		switch {
		case planned[i].Ordinal == nil:
			whole = append(whole, planned[i].Problems...)
		case *planned[i].Ordinal == ordinal:
			row = &planned[i]
		}
	}
	return row, whole
}

// partOf is how plan begins a message about the pods of one revision.
var partOf = regexp.MustCompile(`^ordinals (below|from) \d+: `)

// foretold reports whether plan has an error with the message of the refusal. The API server has words of its own for a pod whose
// name is too long for its labels.
func foretold(refusal string, whole []plan.Problem, row *plan.Row) bool {
	problems := whole
	if row != nil {
		problems = slices.Concat(whole, row.Problems)
	}
	return slices.ContainsFunc(problems, func(p plan.Problem) bool {
		switch {
		case p.Field == nameField:
			return strings.Contains(refusal, "must be no more than 63 ")
		case p.Severity != plan.Error:
			return false
		case strings.Contains(p.Message, "it is missing, so every pod will be refused"):
			return strings.Contains(refusal, "no annotation custom-node-selector")
		}
		return strings.Contains(refusal, partOf.ReplaceAllString(p.Message, ""))
	})
}

// compareSpec compares what plan says will stand in the pod's spec.
func compareSpec(row *plan.Row, spec *corev1.PodSpec) (differences []string) {
	differ := func(field string, planned, got any) {
		if !equality.Semantic.DeepEqual(planned, got) {
			differences = append(differences, fmt.Sprintf("%s: plan says %v, the pod has %v", field, planned, got))
		}
	}
	differ("nodeSelector", row.NodeSelector, spec.NodeSelector)
	differ("tolerations", row.Tolerations, withoutDefaults(row.Tolerations, spec.Tolerations))
	var preferred []corev1.PreferredSchedulingTerm
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil {
		preferred = a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	}
	differ("preferred", row.Preferred, preferred)
	return differences
}

// withoutDefaults leaves out what the API server's DefaultTolerationSeconds adds to every pod that does not have it.
func withoutDefaults(planned, got []corev1.Toleration) []corev1.Toleration {
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		added := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(300))}
		same := func(t corev1.Toleration) bool { return equality.Semantic.DeepEqual(t, added) }
		if !slices.ContainsFunc(planned, same) {
			got = slices.DeleteFunc(slices.Clone(got), same)
		}
	}
	return got
}

// compareNode compares where the pod is with the nodes that plan names.
func compareNode(row *plan.Row, pod *corev1.Pod) []string {
	says := func(field string) bool {
		return slices.ContainsFunc(row.Problems, func(p plan.Problem) bool { return p.Field == field })
	}
	pending := len(row.Nodes) == 0 || says(claimsField)
	switch {
	case row.Nodes == nil:
		return []string{"plan knows no nodes"}
	case pending && len(row.Problems) == 0:
		return []string{"plan names no node, and no problem either"}
	case says(nodeNameField) && pod.Spec.NodeName != "":
		return nil // it is there from the start, and the kubelet, if there were one, would refuse it
	case pod.Spec.NodeName == "" && !pending:
		return []string{fmt.Sprintf("it is Pending, and plan names %d nodes: %v", len(row.Nodes), row.Nodes[:min(len(row.Nodes), 5)])}
	case pod.Spec.NodeName != "" && pending:
		return []string{fmt.Sprintf("it is on %s, and plan says that it will be Pending", pod.Spec.NodeName)}
	case pod.Spec.NodeName != "" && !slices.Contains(row.Nodes, pod.Spec.NodeName):
		return []string{fmt.Sprintf("it is on %s, which is not among the %d nodes that plan names", pod.Spec.NodeName, len(row.Nodes))}
	}
	return nil
}

func TestCompareSeesWhatIsWrong(t *testing.T) {
	same := func(*plan.Row) {}
	refused := func(r *plan.Row) { r.Problems = []plan.Problem{{Severity: plan.Error, Message: "bad rule"}} }
	nowhere := func(r *plan.Row) {
		r.Nodes, r.Problems = []string{}, []plan.Problem{{Severity: plan.Warning, Message: "no node"}}
	}
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	for sentence, tc := range map[string]struct {
		planned func(*plan.Row)
		pod     func(*corev1.Pod) // nil: there is none
		refusal string
		want    string // a part; empty: no difference
	}{
		"a pod on a named node":           {same, on("n2"), "", ""},
		"a pod on another node":           {same, on("n3"), "", "n3, which is not among"},
		"a Pending pod that was foretold": {nowhere, on(""), "", ""},
		"a Pending pod that was not":      {same, on(""), "", "it is Pending, and plan names 2 nodes"},
		"a pod that should be Pending":    {nowhere, on("n1"), "", "says that it will be Pending"},
		"no node and no problem":          {func(r *plan.Row) { r.Nodes = []string{} }, on(""), "", "no problem either"},
		"a pod that a kubelet would refuse": {func(r *plan.Row) {
			r.Nodes, r.Problems = []string{}, []plan.Problem{{Severity: plan.Warning, Field: nodeNameField}}
		}, on("n1"), "", ""},
		"no nodes were asked for": {func(r *plan.Row) { r.Nodes = nil }, on("n1"), "", "plan knows no nodes"},
		"another selector": {same, func(p *corev1.Pod) { p.Spec.NodeSelector["zone"] = "b" }, "",
			"nodeSelector: plan says map[zone:a], the pod has map[zone:b]"},
		"another toleration": {same, func(p *corev1.Pod) { p.Spec.Tolerations[1].Value = "b" }, "", "tolerations: "},
		"a toleration too many": {same, func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: "x"})
		}, "", "tolerations: "},
		"a preference too many": {same, func(p *corev1.Pod) {
			nodeAffinity(&p.Spec).PreferredDuringSchedulingIgnoredDuringExecution = make([]corev1.PreferredSchedulingTerm, 1)
		}, "", "preferred: "},
		"a refusal that was foretold":     {refused, nil, "denied: bad rule", ""},
		"a refusal with another message":  {refused, nil, "denied: bad name", "plan does not say so"},
		"a refusal that was not foretold": {same, nil, "denied", "plan does not say so"},
		"a pod that should be refused":    {refused, on("n1"), "", "says that it will be refused"},
		"a pod of another ordinal":        {func(r *plan.Row) { *r.Ordinal = 1 }, on("n1"), "", "no row for it"},
		"an ordinal that nobody tried":    {refused, nil, "", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			row := plan.Row{
				Ordinal: new(int32), NodeSelector: map[string]string{"zone": "a"}, Nodes: []string{"n1", "n2"},
				Tolerations: []corev1.Toleration{{Key: "zone", Value: "a"}},
			}
			tc.planned(&row)
			o := outcome{refusal: tc.refusal}
			if tc.pod != nil {
				added := corev1.Toleration{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
				added.TolerationSeconds = new(int64(300))
				o.pod = &corev1.Pod{Spec: corev1.PodSpec{
					NodeName: "n1", NodeSelector: map[string]string{"zone": "a"}, Tolerations: []corev1.Toleration{added, {Key: "zone", Value: "a"}},
				}}
				tc.pod(o.pod)
			}
			got := strings.Join(compare([]plan.Row{row}, o), "; ")
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestSamplesAreOfAllClassesAndReproducible(t *testing.T) {
	for seed := range uint64(100) {
		seen := map[string]bool{}
		for i := range 200 {
			s := generate(seed, i)
			maps.Copy(seen, s.classes)
			if again := generate(seed, i); !equality.Semantic.DeepEqual(s.set, again.set) || !equality.Semantic.DeepEqual(s.next, again.next) {
				t.Errorf("seed %d: sample %d is another one the second time", seed, i)
			}
		}
		for _, class := range classes {
			if !seen[class] {
				t.Errorf("seed %d: none of 200 samples has %s", seed, class)
			}
			delete(seen, class)
		}
		if len(seen) > 0 {
			t.Errorf("seed %d: classes that are not listed: %v", seed, seen)
		}
	}
}
