package app

import (
	"encoding/json"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// atPartition is the StatefulSet web of a cluster, whose newest template has the rule, and whose partition keeps the first pod at
// the revision web-1.
func atPartition(t *testing.T, rule string) *appsv1.StatefulSet {
	t.Helper()
	set := inCluster(t, "shop", rule)
	set.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{
		Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(1))},
	}
	set.Status.CurrentRevision = "web-1"
	return set
}

// revisionOf is web-1, as the StatefulSet controller writes it.
func revisionOf(t *testing.T, set *appsv1.StatefulSet) *appsv1.ControllerRevision {
	t.Helper()
	template, err := json.Marshal(set.Spec.Template)
	if err != nil {
		t.Fatal(err)
	}
	raw := `{"spec":{"template":` + strings.Replace(string(template), "{", `{"$patch":"replace",`, 1) + `}}`
	return &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}, Data: runtime.RawExtension{Raw: []byte(raw)}}
}

func TestPlanKnowsWhatAPartitionHoldsBack(t *testing.T) {
	const before, after = `{"key":"zone","values":["a"]}`, `{"key":"zone","values":["b"]}`
	revision := revisionOf(t, inCluster(t, "shop", before))
	newer := write(t, zonesYAML(after)+"  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}\n")
	for sentence, c := range map[string]struct {
		objects []client.Object
		args    []string
		code    int
		want    []string // parts
	}{
		"of a cluster":           {[]client.Object{atPartition(t, after), revision}, []string{"sts", "web"}, exitOK, []string{"0         zone=a", "1         zone=b", "2         zone=b"}},
		"of a file":              {[]client.Object{atPartition(t, before), revision}, []string{"-f", newer, "--cluster"}, exitOK, []string{"0         zone=a", "1         zone=b"}},
		"in a comparison":        {[]client.Object{atPartition(t, before), revision}, []string{"-f", newer, "--diff"}, exitOK, []string{"moved: 2 of 3 pods", "1         moved"}},
		"of a file without one":  {[]client.Object{atPartition(t, after), revision}, []string{"-f", write(t, zonesYAML(after)), "--cluster"}, exitOK, []string{"0         zone=b"}},
		"of a new StatefulSet":   {nil, []string{"-f", newer, "--cluster"}, exitOK, []string{"0         zone=b"}},
		"but not without a look": {nil, []string{"-f", newer}, exitOK, []string{"0         zone=b"}},
		"or that the revision is not there": {[]client.Object{atPartition(t, after)}, []string{"sts", "web"}, exitFailure,
			[]string{"get ControllerRevision shop/web-1"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, stdout, stderr := planIn(t, c.objects, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.want {
				if !strings.Contains(stdout+stderr, part) {
					t.Errorf("got\n%s%s\nwant %q in it", stdout, stderr, part)
				}
			}
		})
	}
}

func TestEveryKindThatPlanReadsHasAPath(t *testing.T) {
	for _, obj := range []client.Object{&appsv1.StatefulSet{}, &appsv1.ControllerRevision{}, &corev1.Node{}, &corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}} {
		gvk, err := apiutil.GVKForObject(obj, planScheme())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mapper().RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
			t.Error(err)
		}
	}
}
