package app

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sts-mutating-webhook/internal/placement"
)

// paged makes a list come in pages of two, as a large one does, and counts the lists of a kind that are requested.
func paged(objects []client.Object, lists map[string]int) client.Client {
	return fake.NewClientBuilder().WithScheme(planScheme()).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, cl client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
			options := (&client.ListOptions{}).ApplyOptions(o)
			first := 0
			fmt.Sscan(options.Continue, &first)
			lists[fmt.Sprintf("%T %v", list, options.LabelSelector)]++
			options.Continue = ""
			if err := cl.List(ctx, list, options); err != nil {
				return err
			}
			all, err := meta.ExtractList(list)
			if err != nil {
				return err
			}
			if last := first + 2; last < len(all) {
				all = all[:last]
				list.SetContinue(fmt.Sprint(last))
			}
			return meta.SetList(list, slices.Clone(all[first:]))
		},
	}).Build()
}

// auditIn runs the command against a cluster with these objects.
func auditIn(t *testing.T, objects []client.Object, args ...string) (code int, stdout, stderr string, lists map[string]int) {
	t.Helper()
	lists = map[string]int{}
	c := newAudit()
	c.dial = func() (client.Client, string, error) { return paged(objects, lists), "shop", nil }
	var groups flagGroups
	c.addFlags(&groups)
	if err := parse(groups.all("audit"), args, c); err != nil {
		return exitUsage, "", err.Error(), lists
	}
	var out, errs bytes.Buffer
	if err := c.run(t.Context(), &out, &errs); err != nil {
		return exitFailure, out.String(), errs.String() + err.Error() + "\n", lists
	}
	return exitOK, out.String(), errs.String(), lists
}

// liveSet is the StatefulSet web of zonesYAML as it runs, and its pods, each placed by its rule.
func liveSet(t *testing.T, namespace, rule string) []client.Object {
	t.Helper()
	set := inCluster(t, namespace, rule)
	set.UID, set.Status.Replicas = types.UID(namespace), *set.Spec.Replicas
	set.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	objects := []client.Object{set}
	rules, err := placement.Parse([]byte(rule))
	if err != nil {
		t.Fatal(err)
	}
	for ordinal := range *set.Spec.Replicas {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("web-%d", ordinal), Annotations: set.Spec.Template.Annotations,
			Labels:          map[string]string{"app": "web", placement.Label: placement.LabelValue},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))},
		}}
		assignments, err := rules.Assign(nil, ordinal)
		if err != nil {
			t.Fatal(err)
		}
		placement.Apply(&pod.Spec, assignments, false)
		objects = append(objects, pod)
	}
	return objects
}

func TestAuditOfACluster(t *testing.T) {
	const two = `{"key":"zone","values":["a","b"]}`
	const header = "NAMESPACE   STATEFULSET   ORDINALS   FINDING     MESSAGE\n"
	const lacks = "its spec lacks nodeSelector zone=b, as if the webhook had not been called when it was created; see that MutatingWebhookConfiguration sts-mutating-webhook is there, then delete the pod\n"
	nodes := []client.Object{labelledNode("n1", "a"), labelledNode("n2", "b"), labelledNode("n3", "b")}
	healthy := func() []client.Object { return slices.Concat(nodes, liveSet(t, "shop", two), liveSet(t, "other", two)) }
	unplaced := func() []client.Object {
		objects := healthy()
		objects[5].(*corev1.Pod).Spec.NodeSelector = nil // web-1 of shop
		return objects
	}
	orphaned := append(healthy(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "alone", Labels: map[string]string{placement.Label: "true"}}})
	for sentence, c := range map[string]struct {
		objects        []client.Object
		args           []string
		code           int
		stdout, stderr string
	}{
		"all is well":                   {healthy(), []string{"-A"}, exitOK, "", "6 pods of 2 StatefulSets: no findings\n"},
		"all is well, in JSON":          {healthy(), []string{"-A", "-o", "json"}, exitOK, "[]\n", "6 pods of 2 StatefulSets: no findings\n"},
		"a pod that was never placed":   {unplaced(), []string{"-A"}, exitFailure, header + "shop        web           1          NotPlaced   " + lacks, "6 pods of 2 StatefulSets: 1 finding\n"},
		"the namespace of the context":  {unplaced(), nil, exitFailure, header + "shop        web           1          NotPlaced   " + lacks, "3 pods of 1 StatefulSet: 1 finding\n"},
		"another namespace":             {unplaced(), []string{"-n", "other"}, exitOK, "", "3 pods of 1 StatefulSet: no findings\n"},
		"one by name":                   {unplaced(), []string{"sts", "web"}, exitFailure, header + "shop        web           1          NotPlaced   " + lacks, "3 pods of 1 StatefulSet: 1 finding\n"},
		"one that does not exist":       {healthy(), []string{"sts", "db"}, exitFailure, "", `get StatefulSet shop/db: statefulsets.apps "db" not found` + "\n"},
		"a pod without a StatefulSet":   {orphaned, nil, exitOK, "", "passed over: 1 opted-in pod that no StatefulSet controls\n3 pods of 1 StatefulSet: no findings\n"},
		"but not if a name is given":    {orphaned, []string{"sts", "web"}, exitOK, "", "3 pods of 1 StatefulSet: no findings\n"},
		"another argument":              {nil, []string{"pods"}, exitUsage, "", `unexpected argument "pods": want statefulset, and perhaps names`},
		"a name and all namespaces":     {nil, []string{"sts", "web", "-A"}, exitUsage, "", "--all-namespaces=true: goes with no name"},
		"an output format that is none": {nil, []string{"-o", "xml"}, exitUsage, "", "--output=xml: must be one of table, wide, json, yaml"},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, stdout, stderr, _ := auditIn(t, c.objects, c.args...)
			if code != c.code {
				t.Errorf("got exit code %d, want %d", code, c.code)
			}
			if diff := cmp.Diff(c.stdout, stdout); diff != "" {
				t.Errorf("stdout differs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.stderr, stderr); diff != "" {
				t.Errorf("stderr differs (-want +got):\n%s", diff)
			}
		})
	}
}

// Pods that did not opt in are many, so they are listed only where a StatefulSet lacks some of its own.
func TestAuditListsOptedInPodsOnly(t *testing.T) {
	const two = `{"key":"zone","values":["a","b"]}`
	objects := append(liveSet(t, "shop", two), labelledNode("n1", "a"), labelledNode("n2", "b"))
	if code, _, stderr, lists := auditIn(t, objects); code != exitOK || lists["*v1.PodList ab-build-different=true"] != 2 || len(lists) != 3 {
		t.Errorf("got exit code %d, stderr %q, lists %v, want two pages of opted-in pods", code, stderr, lists)
	}
	delete(objects[2].(*corev1.Pod).Labels, placement.Label)
	objects[2].(*corev1.Pod).Spec.NodeSelector = nil
	objects[0].(*appsv1.StatefulSet).Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	code, stdout, stderr, lists := auditIn(t, objects)
	if code != exitFailure || !strings.Contains(stdout, "it is placed by <none>, and will be by zone=b") || lists["*v1.PodList app=web"] != 2 {
		t.Errorf("got exit code %d, stdout %q, stderr %q, lists %v, want web-1 to be found", code, stdout, stderr, lists)
	}
}

func TestAuditReadsTheOldTemplateBelowAPartition(t *testing.T) {
	const old, swapped = `{"key":"zone","values":["a","b"]}`, `{"key":"zone","values":["b","a"]}`
	objects := append(liveSet(t, "shop", old), labelledNode("n1", "a"), labelledNode("n2", "b"))
	set := objects[0].(*appsv1.StatefulSet)
	set.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(2))}
	set.Status.CurrentRevision, set.Status.UpdateRevision = "web-old", "web-new"
	set.Spec.Template.Annotations = map[string]string{placement.Annotation: swapped}
	if code, _, stderr, _ := auditIn(t, objects); code != exitFailure || !strings.Contains(stderr, "get ControllerRevision shop/web-old") {
		t.Errorf("without the revision: got exit code %d, stderr %q", code, stderr)
	}
	data := fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{"ab-build-different":"true"},"annotations":{"custom-node-selector":%q}}}}}`, old)
	objects = append(objects, &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-old"}, Data: runtime.RawExtension{Raw: []byte(data)},
	})
	if code, stdout, stderr, _ := auditIn(t, objects); code != exitFailure || stderr != "3 pods of 1 StatefulSet: 1 finding\n" || !strings.Contains(stdout, "shop        web           2          MovesAtRestart") {
		t.Errorf("got exit code %d, stdout %q, stderr %q, want only web-2 to move", code, stdout, stderr)
	}
}
