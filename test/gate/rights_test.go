package gate

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// operations of JSON patches.
const (
	removeGate  = `{"op":"remove","path":"/spec/schedulingGates/0"}`
	addSelector = `{"op":"add","path":"/spec/nodeSelector","value":{"name":"node1"}}`
	setMark     = `{"op":"add","path":"/metadata/annotations/sts-webhook.custom-system.svc~1placed","value":"set-0: name=node1"}`
	place       = removeGate + "," + addSelector + "," + setMark
)

// pod is one that nobody owns or schedules, with those gates.
func (s *suite) pod(t *testing.T, name string, gates ...string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "x"}, Annotations: map[string]string{"a": "b"}},
		Spec: corev1.PodSpec{
			NodeSelector: map[string]string{"nowhere": "true"}, Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "pause", Image: "pause"}},
		},
	}
	for _, gate := range gates {
		pod.Spec.SchedulingGates = append(pod.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: gate})
	}
	pods := s.Client.CoreV1().Pods(namespace)
	_, err := pods.Create(s.Ctx, pod, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := pods.Delete(s.Ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Error(err)
		}
	})
}

// tryPatch patches a pod in a dry run, which must be refused with that text; if it is empty, allowed.
func (s *suite) tryPatch(t *testing.T, client kubernetes.Interface, pod, operations, refusal string) {
	t.Helper()
	dryRun := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
	_, err := client.CoreV1().Pods(namespace).Patch(s.Ctx, pod, types.JSONPatchType, []byte("["+operations+"]"), dryRun)
	if refusal == "" {
		kit.Must(t, err)
	} else if err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("got %v, want a refusal with %q", err, refusal)
	}
}

// testConfinement tries everything in the name of the webhook's service account, as dry runs.
func (s *suite) testConfinement(t *testing.T) {
	s.setPolicy(t, "gate")
	config := s.Cluster.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + webhook.Namespace + ":sts-webhook", Groups: []string{"system:serviceaccounts", "system:authenticated"},
	}
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	s.pod(t, "gated", webhook.Gate, "example.com/quota")
	s.pod(t, "foreign", "example.com/quota")
	s.pod(t, "free")
	const apiserver = "only additions to spec.nodeSelector are allowed" // it refuses that itself, to everybody
	const selector = `{"op":"add","path":"/spec/nodeSelector/name","value":"node1"}`
	const term = `[{"weight":1,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}]`
	for sentence, c := range map[string]struct {
		pod, patch string
		refusal    string // empty: allowed
	}{
		"it may place a pod":                 {"gated", removeGate + "," + selector + "," + setMark, ""},
		"it may add a toleration":            {"gated", removeGate + `,{"op":"add","path":"/spec/tolerations/-","value":{"key":"z","operator":"Exists"}}`, ""},
		"it may add a preference":            {"gated", removeGate + `,{"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":` + term + `}}}`, ""},
		"not leave the gate":                 {"gated", selector, "must remove its own scheduling gate"},
		"not remove another's gate":          {"gated", `{"op":"remove","path":"/spec/schedulingGates"}`, "must remove its own scheduling gate and no other"},
		"not change an image":                {"gated", removeGate + `,{"op":"replace","path":"/spec/containers/0/image","value":"evil"}`, "may not change any other field of the spec"},
		"not set a deadline":                 {"gated", removeGate + `,{"op":"add","path":"/spec/activeDeadlineSeconds","value":9}`, "may not change any other field of the spec"},
		"not add a label":                    {"gated", removeGate + `,{"op":"add","path":"/metadata/labels/x","value":"y"}`, "may not change any other metadata"},
		"not remove a label":                 {"gated", removeGate + `,{"op":"remove","path":"/metadata/labels"}`, "may not change any other metadata"},
		"not add another annotation":         {"gated", removeGate + `,{"op":"add","path":"/metadata/annotations/x","value":"y"}`, "may not change any other metadata"},
		"not change another annotation":      {"gated", removeGate + `,{"op":"replace","path":"/metadata/annotations/a","value":"y"}`, "may not change any other metadata"},
		"not add a finalizer":                {"gated", removeGate + `,{"op":"add","path":"/metadata/finalizers","value":["a.b/c"]}`, "may not change any other metadata"},
		"not add an owner":                   {"gated", removeGate + `,{"op":"add","path":"/metadata/ownerReferences","value":[{"apiVersion":"v1","kind":"Node","name":"n","uid":"u"}]}`, "may not change any other metadata"},
		"not require a node affinity":        {"gated", removeGate + `,{"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"a","operator":"Exists"}]}]}}}}`, "may only add preferred terms"},
		"not change its selector":            {"gated", removeGate + `,{"op":"replace","path":"/spec/nodeSelector/nowhere","value":"y"}`, apiserver},
		"not remove its selector":            {"gated", removeGate + `,{"op":"remove","path":"/spec/nodeSelector"}`, apiserver},
		"not change a pod with another gate": {"foreign", removeGate, "does not wait behind its scheduling gate"},
		"not change a pod without a gate":    {"free", `{"op":"replace","path":"/spec/containers/0/image","value":"evil"}`, "does not wait behind its scheduling gate"},
	} {
		t.Run(sentence, func(t *testing.T) {
			s.tryPatch(t, client, c.pod, c.patch, c.refusal)
		})
	}
	pods := client.CoreV1().Pods(namespace)
	_, get := pods.Get(s.Ctx, "free", metav1.GetOptions{})
	_, create := pods.Create(s.Ctx, &corev1.Pod{}, metav1.CreateOptions{})
	_, status := pods.Patch(s.Ctx, "free", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}, "status")
	for sentence, err := range map[string]error{
		"read a pod": get, "create one": create, "change a status": status, "delete one": pods.Delete(s.Ctx, "free", metav1.DeleteOptions{}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want forbidden", sentence, err)
		}
	}
}

// testGuard looks at pods that were marked and then stripped, while no replica answers.
func (s *suite) testGuard(t *testing.T) {
	s.setPolicy(t, "gate")
	kit.Must(t, s.Scale(s.Ctx, 0))
	defer func() { kit.Must(t, s.Scale(s.Ctx, 2)) }()
	s.deleteSet(t, "set")
	s.createSet(t, kit.StatefulSet("set", 1, kit.ByParity))
	s.Eventually(t, time.Minute, func() error {
		if len(s.podsOf(t, "set")) == 0 {
			return errors.New("the pod is not stored yet")
		}
		return nil
	})
	const lost = "neither its scheduling gate"
	for sentence, c := range map[string]struct{ patch, refusal string }{
		"the gate alone is removed":           {removeGate, lost},
		"the mark is for another pod":         {removeGate + "," + addSelector + "," + strings.Replace(setMark, "set-0", "set-1", 1), lost},
		"the mark promises what is not there": {removeGate + "," + setMark, "was placed by name=node1, but its nodeSelector does not say so"},
		"the selector has another value":      {removeGate + "," + strings.Replace(addSelector, "node1", "node2", 1) + "," + setMark, "was placed by name=node1, but its nodeSelector does not say so"},
		"it is placed":                        {place, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			s.tryPatch(t, s.Client, "set-0", c.patch, c.refusal)
		})
	}
	s.deleteSet(t, "set")
}
