package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sts-mutating-webhook/internal/plan"
)

func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	return s
}

func node(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": zone, "host": name}}}
}

// claim and volume are what the pod web-<ordinal> has, on one host.
func claim(ordinal int, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("data-web-%d", ordinal)},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume},
	}
}

func volume(name, host string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if host != "" {
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "host", Operator: corev1.NodeSelectorOpIn, Values: []string{host}}},
		}}}}
	}
	return v
}

// web has three pods, in the zones a, b, a.
func web() (*appsv1.StatefulSet, []plan.Row) {
	replicas := int32(3)
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	set.Spec.Replicas = &replicas
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
	set.Spec.Template.Labels = map[string]string{"ab-build-different": "true"}
	set.Spec.Template.Annotations = map[string]string{"custom-node-selector": `{"key":"zone","even":"a","odd":"b"}`}
	return set, plan.Rows([]appsv1.StatefulSet{*set}, plan.Options{})
}

func TestProblems(t *testing.T) {
	const pending = "so the pod will stay Pending"
	for sentence, tc := range map[string]struct {
		objects []client.Object
		own     map[string]string // of the template's nodeSelector
		// nodeName is the template's own.
		nodeName string
		want     []string // parts of each
	}{
		"all is there": {objects: []client.Object{node("n1", "a"), node("n2", "b")}},
		"no node at all": {want: []string{
			"ordinals 0,2: no node carries zone=a, " + pending, "ordinals 1: no node carries zone=b, " + pending}},
		"a node is missing": {objects: []client.Object{node("n1", "a")}, want: []string{"ordinals 1: no node carries zone=b"}},
		"no node has both": {objects: []client.Object{node("n1", "a"), node("n2", "b")}, own: map[string]string{"host": "n2"},
			want: []string{"ordinals 0,2: no node carries all of host=n2, zone=a"}},
		"a volume on the right node": {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v"), volume("v", "n2")}},
		"a volume on another node": {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v"), volume("v", "n1")},
			want: []string{"ordinals 1: PersistentVolumeClaim data-web-1 is bound to PersistentVolume v, which is on node n1: the pod will stay Pending"}},
		"a volume that the node of the template's own nodeName does not reach": {
			objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v"), volume("v", "n1")}, nodeName: "n2",
			want: []string{"ordinals 0,2: the template names node n2", "ordinals 1: the template names node n2, but PersistentVolumeClaim data-web-1 is bound to PersistentVolume v, which is on node n1: the pod will not start"}},
		"a volume on a node that is gone": {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v"), volume("v", "n9")},
			want: []string{"is on no node: the pod will stay Pending"}},
		"a volume that any node reaches":    {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v"), volume("v", "")}},
		"a claim that is not bound":         {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "")}},
		"a volume that is gone":             {objects: []client.Object{node("n1", "a"), node("n2", "b"), claim(1, "v")}},
		"what is said once is not repeated": {objects: []client.Object{node("n1", "a"), claim(1, "v"), volume("v", "n1")}, want: []string{"no node carries zone=b"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			reader := fake.NewClientBuilder().WithScheme(scheme()).WithObjects(tc.objects...).Build()
			set, _ := web()
			set.Spec.Template.Spec.NodeSelector, set.Spec.Template.Spec.NodeName = tc.own, tc.nodeName
			rows := plan.Rows([]appsv1.StatefulSet{*set}, plan.Options{})
			got, err := Inventory{Nodes: reader, Volumes: reader}.Problems(t.Context(), set, rows)
			if err != nil || len(got) != len(tc.want) {
				t.Fatalf("got %v, %v, want %q", got, err, tc.want)
			}
			for i, want := range tc.want {
				if !strings.Contains(got[i].Message, want) || got[i].Severity != plan.Warning {
					t.Errorf("got %+v, want %q", got[i], want)
				}
			}
			if rows[0].Nodes != nil || len(rows[0].Problems) > 0 {
				t.Errorf("the rows were changed: %+v", rows[0])
			}
		})
	}
}

func TestFill(t *testing.T) {
	reader := fake.NewClientBuilder().WithScheme(scheme()).WithObjects(node("n3", "a"), node("n1", "a"), node("n2", "b")).Build()
	set, rows := web()
	if err := (Inventory{Nodes: reader}).Fill(t.Context(), set, rows); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, row := range rows {
		got = append(got, row.Nodes)
	}
	if diff := cmp.Diff([][]string{{"n1", "n3"}, {"n2"}, {"n1", "n3"}}, got); diff != "" {
		t.Errorf("nodes differ (-want +got):\n%s", diff)
	}
	if err := (Inventory{}).Fill(t.Context(), set, rows); err != nil {
		t.Errorf("without anything to look at: %v", err)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	refused := errors.New("refused")
	for name, on := range map[string]func(client.Object) bool{
		"nodes":   func(o client.Object) bool { return false },
		"claims":  func(o client.Object) bool { _, is := o.(*corev1.PersistentVolumeClaim); return is },
		"volumes": func(o client.Object) bool { _, is := o.(*corev1.PersistentVolume); return is },
	} {
		base := fake.NewClientBuilder().WithScheme(scheme()).WithObjects(node("n1", "a"), claim(1, "v"), volume("v", "n1")).Build()
		reader := interceptor.NewClient(base, interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if name == "nodes" {
					return refused
				}
				return c.List(ctx, list, opts...)
			},
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if on(obj) {
					return refused
				}
				return c.Get(ctx, key, obj, opts...)
			},
		})
		set, rows := web()
		if _, err := (Inventory{Nodes: reader, Volumes: reader}).Problems(t.Context(), set, rows); !errors.Is(err, refused) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
