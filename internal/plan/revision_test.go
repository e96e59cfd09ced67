package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestAPartitionKeepsPodsAtTheirRevision(t *testing.T) {
	const before, after = `{"key":"zone","values":["a"]}`, `{"key":"zone","values":["b"]}`
	const partition = `, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}`
	const mistake = ` | error at spec.template.metadata.annotations[custom-node-selector]: ordinals `
	const isMissing = `: it is missing, so every pod will be refused; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}, or remove the label ab-build-different`
	bare := func(s *appsv1.StatefulSet) { s.Spec.Template.Annotations = nil }
	optedOut := func(s *appsv1.StatefulSet) { s.Spec.Template.Annotations, s.Spec.Template.Labels = nil, nil }
	same := func(*appsv1.StatefulSet) {}
	for sentence, c := range map[string]struct {
		spec            string
		change, changeC func(*appsv1.StatefulSet) // of the new template, and of the current revision's
		want            []string
	}{
		"the first pods keep the old rule":        {`replicas: 3` + partition, same, same, []string{"web-0 zone=a", "web-1 zone=a", "web-2 zone=b"}},
		"a partition counts from ordinals.start":  {`replicas: 3, ordinals: {start: 5}` + partition, same, same, []string{"web-5 zone=a", "web-6 zone=a", "web-7 zone=b"}},
		"it may hold back all":                    {`replicas: 1` + partition, same, same, []string{"web-0 zone=a"}},
		"without it all get the new rule":         {`replicas: 2`, same, same, []string{"web-0 zone=b", "web-1 zone=b"}},
		"OnDelete knows none":                     {`replicas: 2, updateStrategy: {type: OnDelete}`, same, same, []string{"web-0 zone=b", "web-1 zone=b"}},
		"a mistake concerns the new pods":         {`replicas: 3` + partition, bare, same, []string{"web" + mistake + "from 2" + isMissing, "web-0 zone=a", "web-1 zone=a"}},
		"one in the old revision the old pods":    {`replicas: 3` + partition, same, bare, []string{"web" + mistake + "below 2" + isMissing, "web-2 zone=b"}},
		"a mistake is seen while all are held":    {`replicas: 1` + partition, bare, same, []string{"web" + mistake + "from 2" + isMissing, "web-0 zone=a"}},
		"those that opt out leave the others":     {`replicas: 3` + partition, optedOut, same, []string{"web-0 zone=a", "web-1 zone=a", "web-2 <none>"}},
		"the last ordinal may be the largest":     {`replicas: 3, ordinals: {start: 2147483645}` + partition, same, same, []string{"web-2147483645 zone=a", "web-2147483646 zone=a", "web-2147483647 zone=b"}},
		"a StatefulSet with an error has no pods": {`replicas: -1` + partition, same, same, []string{"web | error at spec.replicas: -1 is negative"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			set, old := setOf(t, after, c.spec, ``), setOf(t, before, ``, ``)
			c.change(&set)
			c.changeC(&old)
			current := map[types.NamespacedName]*corev1.PodTemplateSpec{{Namespace: "shop", Name: "web"}: &old.Spec.Template}
			if diff := cmp.Diff(c.want, shown(Rows([]appsv1.StatefulSet{set}, Options{Current: current}))); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPartitionMovesNothingBelowIt(t *testing.T) {
	const spec = `replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}`
	before, after := setOf(t, `{"key":"zone","values":["a"]}`, spec, ``), setOf(t, `{"key":"zone","values":["b"]}`, spec, ``)
	o := Options{Current: map[types.NamespacedName]*corev1.PodTemplateSpec{{Namespace: "shop", Name: "web"}: &before.Spec.Template}}
	var got []string
	for _, m := range Diff([]appsv1.StatefulSet{before}, []appsv1.StatefulSet{after}, o) {
		got = append(got, m.Pod+" "+string(m.Change))
	}
	if diff := cmp.Diff([]string{"web-1 moved"}, got); diff != "" {
		t.Errorf("moves differ (-want +got):\n%s", diff)
	}
}
