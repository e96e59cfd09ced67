package audit

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/output"
	"sts-mutating-webhook/internal/plan"
)

var update = flag.Bool("update", false, "write testdata instead of comparing with it")

// read decodes YAML with tabs for indentation.
func read[T any](t *testing.T, text string) T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(text, "\t", " ")), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return object
}

const zones = `{"key":"zone","values":["a","b"]}`

// setOf is the StatefulSet web in shop with a rule; spec are more fields of its spec.
func setOf(t *testing.T, rule, spec string) appsv1.StatefulSet {
	t.Helper()
	return read[appsv1.StatefulSet](t, fmt.Sprintf(`{metadata: {name: web, namespace: shop, uid: u1}, spec: {template: {metadata: {
		labels: {ab-build-different: "true"}, annotations: {custom-node-selector: '%s'}}}, %s}}`, rule, spec))
}

// podOf is a running pod of web with a rule.
func podOf(t *testing.T, ordinal int, rule, node, spec string) corev1.Pod {
	t.Helper()
	return read[corev1.Pod](t, fmt.Sprintf(`{metadata: {name: web-%d, namespace: shop, labels: {ab-build-different: "true"},
		annotations: {custom-node-selector: '%s'}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u1, controller: true}]},
		spec: {nodeName: "%s", %s}, status: {phase: Running}}`, ordinal, rule, node, spec))
}

func nodeOf(name string, labels map[string]string) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// twoNodes carry the zones a and b.
func twoNodes() []corev1.Node {
	return []corev1.Node{nodeOf("n1", map[string]string{"zone": "a"}), nodeOf("n2", map[string]string{"zone": "b"})}
}

// placedPods are web-0 and web-1 as zones wants them.
func placedPods(t *testing.T) []corev1.Pod {
	return []corev1.Pod{podOf(t, 0, zones, "n1", `nodeSelector: {zone: a}`), podOf(t, 1, zones, "n2", `nodeSelector: {zone: b}`)}
}

// shown is a report in short: one line for each finding.
func shown(r *Report) (lines []string) {
	for _, f := range r.Findings {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.StatefulSet, plan.IndexSet(f.Ordinals), f.Kind, f.Pod))+": "+f.Message)
	}
	return lines
}

const (
	asIfNotCalled = ", as if the webhook had not been called when it was created"
	createAgain   = "; see that MutatingWebhookConfiguration sts-mutating-webhook is there, then delete the pod"
	notMeant      = "; if that is not meant, put the old rule back"
	onDelete      = "; updateStrategy is OnDelete, so it stays until somebody deletes it" + notMeant
)

func TestFindings(t *testing.T) {
	const swapped = `{"key":"zone","values":["b","a"]}`
	const prefer = `{"key":"zone","values":["a","b"],"whenUnsatisfiable":"ScheduleAnyway"}`
	const preferA = `affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: {matchExpressions: [{key: zone, operator: In, values: [a]}]}}]}}`
	const tolerate = `{"key":"zone","values":["a"],"tolerate":"NoSchedule"}`
	for sentence, c := range map[string]struct {
		change func(*Snapshot)
		want   []string
	}{
		"all is well": {func(*Snapshot) {}, nil},
		"a pod that was created without the webhook": {func(s *Snapshot) { s.Pods[1] = podOf(t, 1, zones, "n1", ``) },
			[]string{"web 1 NotPlaced web-1: its spec lacks nodeSelector zone=b" + asIfNotCalled + " (it runs on node n1, which carries zone=a, not b)" + createAgain}},
		"the same by chance on the right node": {func(s *Snapshot) { s.Pods[1] = podOf(t, 1, zones, "n2", ``) },
			[]string{"web 1 NotPlaced web-1: its spec lacks nodeSelector zone=b" + asIfNotCalled + " (it runs on node n2, where it should)" + createAgain}},
		"a pending one": {func(s *Snapshot) { s.Pods[1] = podOf(t, 1, zones, "", ``) },
			[]string{"web 1 NotPlaced web-1: its spec lacks nodeSelector zone=b" + asIfNotCalled + createAgain}},
		"one behind our scheduling gate": {func(s *Snapshot) {
			s.Pods[1] = podOf(t, 1, zones, "", `schedulingGates: [{name: example.com/quota}, {name: sts-webhook.custom-system.svc/placement}]`)
		}, []string{"web 1 NotPlaced web-1: it was created while the webhook could not be called, and waits behind the scheduling gate sts-webhook.custom-system.svc/placement for a replica to place it; if it stays so, its events say why (kubectl describe pod)"}},
		"one behind another": {func(s *Snapshot) { s.Pods[1] = podOf(t, 1, zones, "", `schedulingGates: [{name: example.com/quota}]`) },
			[]string{"web 1 NotPlaced web-1: its spec lacks nodeSelector zone=b" + asIfNotCalled + createAgain}},
		"a preference and a toleration that are missing": {func(s *Snapshot) {
			rule := `[` + prefer + `,{"key":"disk","values":["ssd"],"tolerate":"NoSchedule"}]`
			s.StatefulSets = []appsv1.StatefulSet{setOf(t, rule, `replicas: 0`)}
			s.Pods = []corev1.Pod{podOf(t, 0, rule, "", ``)}
		}, []string{"web 0 NotPlaced web-0: its spec lacks the preference for zone=a, nodeSelector disk=ssd, the toleration disk=ssd:NoSchedule" + asIfNotCalled + createAgain}},
		"a preference is no demand on the node": {func(s *Snapshot) {
			s.StatefulSets, s.Pods = []appsv1.StatefulSet{setOf(t, prefer, ``)}, []corev1.Pod{podOf(t, 0, prefer, "n2", preferA)}
		}, nil},
		"a toleration that is there": {func(s *Snapshot) {
			s.StatefulSets = []appsv1.StatefulSet{setOf(t, tolerate, ``)}
			s.Pods = []corev1.Pod{podOf(t, 0, tolerate, "n1", `nodeSelector: {zone: a}, tolerations: [{key: zone, value: a, effect: NoSchedule}]`)}
		}, nil},
		"a pod whose own rule is wrong": {func(s *Snapshot) {
			s.Pods[1] = podOf(t, 1, `{"key":"zone"}`, "n2", ``)
		}, []string{`web 1 NotPlaced web-1: its own rule is wrong: annotation custom-node-selector: field "even" is missing; correct it in the StatefulSet's pod template`}},
		"a pod without a rule": {func(s *Snapshot) { s.Pods[1].Annotations = nil },
			[]string{`web 1 NotPlaced web-1: its own rule is wrong: the annotation custom-node-selector is missing; correct it in the StatefulSet's pod template`}},
		"a pod that somebody else named": {func(s *Snapshot) { s.Pods[1].Name = "web-one" },
			[]string{`web  NotPlaced web-one: it has no ordinal: "one" is not a decimal number; let the StatefulSet create its pods`}},
		"a node with another label": {func(s *Snapshot) {
			s.Nodes = append(s.Nodes[:1], nodeOf("n2", map[string]string{"zone": "c"}), nodeOf("n3", map[string]string{"zone": "b"}))
		}, []string{"web 1 NodeMismatch web-1: it runs on node n2, which carries zone=c, not b; label the node, or delete the pod"}},
		"a node without the label": {func(s *Snapshot) { s.Nodes[1] = nodeOf("n2", nil) }, []string{
			"web 1 NoMatchingNode: no node carries zone=b, so the pod will stay Pending; label a node, or correct the rule",
			"web 1 NodeMismatch web-1: it runs on node n2, which does not carry zone=b; label the node, or delete the pod"}},
		"a node that is gone": {func(s *Snapshot) { s.Nodes[1].Name = "n3" },
			[]string{"web 1 NodeMismatch web-1: it runs on node n2, which does not exist; label the node, or delete the pod"}},
		"labels that no node has": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, `{"key":"zone","values":["a","x","y"]}`, `replicas: 5`)
			s.Pods = s.Pods[:1]
			s.Pods[0].Annotations["custom-node-selector"] = `{"key":"zone","values":["a","x","y"]}`
		}, []string{
			"web 1,4 NoMatchingNode: no node carries zone=x, so the pod will stay Pending; label a node, or correct the rule",
			"web 2 NoMatchingNode: no node carries zone=y, so the pod will stay Pending; label a node, or correct the rule"}},
		"a new template with OnDelete": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, swapped, `replicas: 2, updateStrategy: {type: OnDelete}`)
		}, []string{
			"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by zone=b when it is created again" + onDelete,
			"web 1 MovesAtRestart web-1: it is placed by zone=b, and will be by zone=a when it is created again" + onDelete}},
		"a rollout that is under way": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, swapped, `replicas: 1, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}`)
		}, []string{"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by zone=b when it is created again; the rollout restarts it" + notMeant}},
		"a move that its node allows": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, `{"key":"room","values":["east"]}`, `replicas: 1, updateStrategy: {type: OnDelete}`)
			s.Nodes[0].Labels["room"] = "east"
		}, []string{"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by room=east, which its node n1 carries as well when it is created again" + onDelete}},
		"a preference that moves": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, prefer, `replicas: 1, updateStrategy: {type: OnDelete}`)
		}, []string{"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by preferred zone=a when it is created again" + onDelete}},
		"a preference for other nodes": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, `{"key":"zone","values":["b"],"whenUnsatisfiable":"ScheduleAnyway"}`, `replicas: 1, updateStrategy: {type: OnDelete}`)
			s.Pods = []corev1.Pod{podOf(t, 0, prefer, "n1", preferA)}
		}, []string{"web 0 MovesAtRestart web-0: it is placed by preferred zone=a, and will be by preferred zone=b when it is created again" + onDelete}},
		"a StatefulSet that opted out, and selects a node that is none": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, zones, `replicas: 1, updateStrategy: {type: OnDelete}`)
			s.StatefulSets[0].Spec.Template.Labels = nil
			s.StatefulSets[0].Spec.Template.Spec.NodeSelector = map[string]string{"zone": "x"}
		}, []string{"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by zone=x when it is created again" + onDelete}},
		"a StatefulSet that opted out": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, zones, `replicas: 1, updateStrategy: {type: OnDelete}`)
			s.StatefulSets[0].Spec.Template.Labels = nil
		}, []string{"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by <none> when it is created again" + onDelete}},
		"a pod from before its StatefulSet opted in": {func(s *Snapshot) {
			s.StatefulSets[0].Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
			s.Pods[1] = podOf(t, 1, zones, "n1", ``)
			s.Pods[1].Labels, s.Pods[1].Annotations = nil, nil
		}, []string{"web 1 MovesAtRestart web-1: it is placed by <none>, and will be by zone=b when it is created again" + onDelete}},
		"entries of others do not count":       {func(s *Snapshot) { s.Pods[1].Spec.NodeSelector["added"] = "later" }, nil},
		"pods beyond the replicas do not move": {func(s *Snapshot) { s.StatefulSets[0] = setOf(t, swapped, `replicas: 0`) }, nil},
		"a rule that is refused at the restart": {func(s *Snapshot) { s.StatefulSets[0] = setOf(t, `{"key":"zone"}`, `replicas: 2`) }, []string{
			`web 0-1 RefusedAtRestart: spec.template.metadata.annotations[custom-node-selector]: field "even" is missing; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}`}},
		"the same with no replicas": {func(s *Snapshot) { s.Pods, s.StatefulSets[0] = nil, setOf(t, `{"key":"zone"}`, `replicas: 0`) }, []string{
			`web  RefusedAtRestart: spec.template.metadata.annotations[custom-node-selector]: field "even" is missing; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}`}},
		"an ordinal without a value": {func(s *Snapshot) { s.StatefulSets[0] = setOf(t, `{"key":"zone","ordinals":{"0":"a"}}`, `replicas: 2`) }, []string{
			`web 1 RefusedAtRestart: spec.template.metadata.annotations[custom-node-selector]: field "ordinals" has no value for ordinal 1, and there is no "default"; add the ordinal, or a default; write {"key": "<node label>", "ordinals": {"0": "<value>", "1-2,5": "<value>"}, "default": "<value for all others>"}`}},
		"pods that are about to end": {func(s *Snapshot) {
			s.Pods[0] = podOf(t, 0, zones, "n2", ``)
			s.Pods[0].DeletionTimestamp = &metav1.Time{}
			s.Pods[1] = podOf(t, 1, zones, "n1", ``)
			s.Pods[1].Status.Phase = corev1.PodFailed
		}, nil},
		"a StatefulSet that is gone, or of another group": {func(s *Snapshot) {
			s.StatefulSets = nil
			s.Pods[1] = podOf(t, 1, zones, "n1", ``)
			s.Pods[1].OwnerReferences[0].APIVersion = "apps.kruise.io/v1beta1"
		}, []string{"web 1 NotPlaced web-1: its spec lacks nodeSelector zone=b" + asIfNotCalled + " (it runs on node n1, which carries zone=a, not b)" + createAgain}},
		"another StatefulSet with the same name is not the owner": {func(s *Snapshot) {
			s.StatefulSets[0] = setOf(t, swapped, `replicas: 2`)
			s.StatefulSets[0].UID = "u2"
		}, nil},
		"what no rule asks for": {func(s *Snapshot) {
			s.StatefulSets[0].Spec.Template.Labels = nil
			for i := range s.Pods {
				s.Pods[i].Labels, s.Pods[i].Spec.NodeSelector = nil, nil
			}
		}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := &Snapshot{StatefulSets: []appsv1.StatefulSet{setOf(t, zones, `replicas: 2`)}, Pods: placedPods(t), Nodes: twoNodes()}
			c.change(s)
			for i := range s.Pods {
				s.Pods[i] = StripPod(&s.Pods[i])
			}
			report := Make(s, plan.Options{})
			if diff := cmp.Diff(c.want, shown(report)); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// A pod below the partition is created again from the old template, another one from the new.
func TestAPartitionKeepsTheOldRule(t *testing.T) {
	const swapped = `{"key":"zone","values":["b","a"]}`
	old := setOf(t, zones, ``)
	current := map[types.NamespacedName]*corev1.PodTemplateSpec{{Namespace: "shop", Name: "web"}: &old.Spec.Template}
	set := func(rule, spec string) appsv1.StatefulSet {
		s := setOf(t, rule, `replicas: 2, `+spec)
		s.Status.CurrentRevision, s.Status.UpdateRevision = "web-1", "web-2"
		return s
	}
	for sentence, c := range map[string]struct {
		set  appsv1.StatefulSet
		want []string
	}{
		"below it nothing moves": {set(swapped, `updateStrategy: {rollingUpdate: {partition: 1}}`), []string{
			"web 1 MovesAtRestart web-1: it is placed by zone=b, and will be by zone=a when it is created again; the rollout restarts it" + notMeant}},
		"it counts from the first ordinal": {set(swapped, `ordinals: {start: 1}, updateStrategy: {rollingUpdate: {partition: 1}}`), nil},
		"above all pods it keeps all":      {set(swapped, `updateStrategy: {rollingUpdate: {partition: 9}}`), nil},
		"a mistake above it":               {set(`{`, `updateStrategy: {rollingUpdate: {partition: 1}}`), []string{"web 1 RefusedAtRestart: spec.template.metadata.annotations[custom-node-selector]: it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF; write " + `{"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}`}},
		"a mistake above all pods":         {set(`{`, `updateStrategy: {rollingUpdate: {partition: 2}}`), nil},
		"OnDelete has none": {set(swapped, `updateStrategy: {type: OnDelete, rollingUpdate: {partition: 2}}`), []string{
			"web 0 MovesAtRestart web-0: it is placed by zone=a, and will be by zone=b when it is created again" + onDelete,
			"web 1 MovesAtRestart web-1: it is placed by zone=b, and will be by zone=a when it is created again" + onDelete}},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := &Snapshot{StatefulSets: []appsv1.StatefulSet{c.set}, Pods: placedPods(t), Nodes: twoNodes(), Current: current}
			report := Make(s, plan.Options{})
			if diff := cmp.Diff(c.want, shown(report)); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

// When a rollout has ended, its revision is the current one, and the StatefulSet's own template.
func TestWithoutARolloutThePartitionKeepsNothing(t *testing.T) {
	set := setOf(t, zones, `replicas: 2, updateStrategy: {rollingUpdate: {partition: 1}}`)
	set.Status.CurrentRevision, set.Status.UpdateRevision = "web-1", "web-1"
	other := setOf(t, `{"key":"zone","values":["b","a"]}`, ``)
	report := Make(&Snapshot{
		StatefulSets: []appsv1.StatefulSet{set}, Pods: placedPods(t), Nodes: twoNodes(),
		Current: map[types.NamespacedName]*corev1.PodTemplateSpec{{Namespace: "shop", Name: "web"}: &other.Spec.Template},
	}, plan.Options{})
	if len(report.Findings) > 0 {
		t.Errorf("got %q, want no finding", shown(report))
	}
}

func TestWhatWasLookedAtIsCounted(t *testing.T) {
	orphan := podOf(t, 0, zones, "n1", ``)
	orphan.OwnerReferences = nil
	s := &Snapshot{StatefulSets: []appsv1.StatefulSet{setOf(t, zones, `replicas: 2`)}, Pods: append(placedPods(t), orphan), Nodes: twoNodes()}
	other := s.Pods[0]
	other.OwnerReferences = []metav1.OwnerReference{*other.OwnerReferences[0].DeepCopy()}
	other.OwnerReferences[0].UID = types.UID("gone")
	plain := *other.DeepCopy()
	plain.Labels, plain.OwnerReferences[0].UID = nil, "unknown"
	s.Pods = append(s.Pods, other, plain)
	got := Make(s, plan.Options{})
	if diff := cmp.Diff(&Report{Findings: []Finding{}, Pods: 3, StatefulSets: 2, Unowned: 1}, got); diff != "" {
		t.Errorf("report differs (-want +got):\n%s", diff)
	}
}

// A million replicas are a number in an object that anybody may write.
func TestReplicasThatNobodyCanCreateTakeNoMemory(t *testing.T) {
	for start, c := range map[string]struct{ findings, ordinals int }{"0": {1, plan.MaxPods}, "2147483000": {2, 648}} {
		s := &Snapshot{StatefulSets: []appsv1.StatefulSet{setOf(t, zones, `replicas: 2147483647, ordinals: {start: `+start+`}`)}, Nodes: twoNodes()}
		report := Make(s, plan.Options{})
		if len(report.Findings) != c.findings || len(report.Findings[0].Ordinals) != c.ordinals {
			t.Errorf("from %s: got %d findings, want %d of %d ordinals each", start, len(report.Findings), c.findings, c.ordinals)
		}
	}
}

func TestFindingsArePrintedAsKept(t *testing.T) {
	s := &Snapshot{StatefulSets: []appsv1.StatefulSet{setOf(t, `{"key":"zone","values":["a","b","x"]}`, `replicas: 3, updateStrategy: {type: OnDelete}`)}, Nodes: twoNodes()}
	s.Pods = []corev1.Pod{podOf(t, 0, zones, "n2", `nodeSelector: {zone: a}`), podOf(t, 1, zones, "", ``), podOf(t, 2, zones, "n1", `nodeSelector: {zone: a}`)}
	report := Make(s, plan.Options{})
	for _, format := range output.Formats {
		var out strings.Builder
		if err := Print(&out, format, report.Findings); err != nil {
			t.Fatal(err)
		}
		file := "testdata/web." + format + ".golden"
		if *update {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", file, diff)
		}
	}
}

// The shape of -o json is a promise: a change of this list is a change for users.
func TestFieldsOfTheJSONAreKeptAndDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for field := range reflect.TypeFor[Finding]().Fields() {
		names = append(names, field.Tag.Get("json"))
	}
	if got, want := strings.Join(names, " "), "namespace statefulSet ordinals pod node finding message"; got != want {
		t.Errorf("fields: got %s, want %s", got, want)
	}
	for _, kind := range Kinds {
		names = append(names, string(kind))
	}
	for _, name := range names {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/commands.md does not name %s", name)
		}
	}
}
