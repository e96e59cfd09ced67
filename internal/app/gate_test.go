package app

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/placer"
)

// observed notes what the observer hears.
type observed struct{ heard []string }

func (o *observed) Placed(p mutator.Placement) {
	o.heard = append(o.heard, "placed "+p.Namespace+"/"+p.Pod+" by "+p.Key+"="+p.Value)
}

func (o *observed) Denied(d mutator.Denial) {
	o.heard = append(o.heard, "denied "+d.Namespace+"/"+d.Pod+": "+d.Reason)
}

func gatedPod(annotation string, change func(*corev1.Pod)) *corev1.Pod {
	yes := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", UID: "u", ResourceVersion: "7",
			Labels:          map[string]string{"ab-build-different": "true", "apps.kubernetes.io/pod-index": "1", "sts-webhook.custom-system.svc/gate": "placement", "app": "web"},
			Annotations:     map[string]string{"custom-node-selector": annotation, "other": "x"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/quota"}, {Name: placement.Gate}},
			Tolerations:     []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Affinity:        &corev1.Affinity{PodAffinity: &corev1.PodAffinity{}},
			Containers:      []corev1.Container{{Name: "main", Image: "x"}},
		},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func TestALateDecisionIsTheWebhooks(t *testing.T) {
	const rule, placed = `{"key":"zone","values":["a","b"],"tolerate":"NoSchedule"}`, `{"op":"add","path":"/metadata/annotations/sts-webhook.custom-system.svc~1placed","value":"web-1: zone=b"},{"op":"remove","path":"/spec/schedulingGates/1"}]`
	const toleration = `{"op":"add","path":"/spec/tolerations/-","value":{"key":"zone","operator":"Equal","value":"b","effect":"NoSchedule"}},`
	selector := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
	}
	for sentence, c := range map[string]struct {
		pod            *corev1.Pod
		replace        bool
		patch, problem string // problem: its beginning
		heard          []string
	}{
		"a pod without selector": {
			pod:   gatedPod(rule, nil),
			patch: `[{"op":"add","path":"/spec/nodeSelector","value":{"zone":"b"}},` + toleration + placed, heard: []string{"placed shop/web-1 by zone=b"},
		},
		"a pod with another entry": {
			pod:   gatedPod(rule, selector("disk", "ssd")),
			patch: `[{"op":"add","path":"/spec/nodeSelector/zone","value":"b"},` + toleration + placed, heard: []string{"placed shop/web-1 by zone=b"},
		},
		"a preference beside an affinity": {
			pod: gatedPod(`{"key":"zone","values":["a","b"],"whenUnsatisfiable":"ScheduleAnyway"}`, nil),
			patch: `[{"op":"add","path":"/spec/affinity/nodeAffinity","value":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["b"]}]}}]}},` +
				strings.Replace(placed, " zone=b", "", 1),
			heard: []string{"placed shop/web-1 by zone=b"},
		},
		"a selector in the way": {
			pod: gatedPod(rule, selector("zone", "x")), problem: "its own nodeSelector is in the way of zone=b, and Kubernetes lets nobody change that in a stored pod",
		},
		"other entries that are to be dropped": {
			pod: gatedPod(rule, selector("disk", "ssd")), replace: true, problem: "its own nodeSelector is in the way of zone=b",
		},
		"a bad annotation": {
			pod: gatedPod(`{"key":"zone"}`, nil), problem: "annotation custom-node-selector: field \"even\" is missing", heard: []string{"denied shop/web-1: AnnotationInvalid"},
		},
		"a pod-index that disagrees": {
			pod:     gatedPod(rule, func(p *corev1.Pod) { p.Labels["apps.kubernetes.io/pod-index"] = "2" }),
			problem: "label apps.kubernetes.io/pod-index is \"2\"", heard: []string{"denied shop/web-1: PodIndexMismatch"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			keep := func(name string) bool { return slices.Contains(mutator.StoredKeys(), name) }
			for _, pod := range []*corev1.Pod{c.pod, placer.Trim(c.pod, keep)} {
				var o observed
				d := late{mutator.Settings{ReplaceExisting: c.replace}, &o}.decide(pod)
				if d.Report != nil {
					d.Report()
				}
				if diff := cmp.Diff(c.patch, string(d.Patch)); diff != "" {
					t.Errorf("patch (-want +got):\n%s", diff)
				}
				if !strings.HasPrefix(d.Problem, c.problem) || (d.Problem == "") != (c.problem == "") {
					t.Errorf("got problem %q, want one that begins with %q", d.Problem, c.problem)
				}
				if diff := cmp.Diff(c.heard, o.heard); diff != "" {
					t.Errorf("heard (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestOfOtherPodsLittleIsKept(t *testing.T) {
	pod := gatedPod(`{}`, func(p *corev1.Pod) { p.Spec.SchedulingGates = p.Spec.SchedulingGates[:1] })
	want := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u", ResourceVersion: "7"}}
	if diff := cmp.Diff(want, placer.Trim(pod, func(string) bool { return true })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
