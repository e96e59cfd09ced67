package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/plan"
)

// read reads one object of YAML, strictly.
func read[T any](t *testing.T, text string) (object T) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return object
}

func TestNodesThatTakeThePod(t *testing.T) {
	const (
		dedicated = `taints: [{key: pool, value: db, effect: NoSchedule}]`
		broken    = `taints: [{key: broken, effect: NoExecute}]`
		spot      = `taints: [{key: spot, effect: PreferNoSchedule}]`
		advice    = `; tolerate the taint ("tolerate" in a rule, or the template's tolerations), uncordon a node, or correct the rule`
		require   = `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: In, values: [ssd]}]}]}}}`
		byName    = `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n2]}]}]}}}`
	)
	const zone, soft = `{"key":"zone","values":["a"]}`, `{"key":"zone","values":["a"],"whenUnsatisfiable":"ScheduleAnyway"}`
	for sentence, tc := range map[string]struct {
		rule  string
		own   string   // of the template's spec
		nodes []string // the spec of n1, n2 ..., all in zone a; "ssd" is one with that disk
		want  []string
		// problem is its field and message; empty: none.
		problem string
	}{
		"all that match":              {zone, ``, []string{``, ``}, []string{"n1", "n2"}, ""},
		"not a tainted one":           {zone, ``, []string{dedicated, ``}, []string{"n2"}, ""},
		"not one that evicts":         {zone, ``, []string{broken, ``}, []string{"n2"}, ""},
		"nor a cordoned one":          {zone, ``, []string{`unschedulable: true`, ``}, []string{"n2"}, ""},
		"one that is only avoided":    {zone, ``, []string{spot}, []string{"n1"}, ""},
		"a tainted one, if tolerated": {zone, `tolerations: [{key: pool, operator: Exists}]`, []string{dedicated}, []string{"n1"}, ""},
		"a cordoned one, if tolerated": {zone, `tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]`,
			[]string{`unschedulable: true, taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]`}, []string{"n1"}, ""},
		"one that the template's affinity wants": {zone, require, []string{`ssd`, ``}, []string{"n1"}, ""},
		"or wants by its name":                   {zone, byName, []string{``, ``}, []string{"n2"}, ""},
		"the one that the template names":        {zone, `nodeName: n2`, []string{``, `unschedulable: true`}, []string{"n2"}, ""},
		"a preference excludes none":             {soft, ``, []string{``, dedicated}, []string{"n1"}, ""},
		"none, for their taints": {zone, ``, []string{dedicated, dedicated, broken, `unschedulable: true`}, []string{},
			"spec.template.spec.tolerations: no node that matches takes the pod, so it will stay Pending: 1 cordoned, 1 tainted broken:NoExecute, 2 tainted pool=db:NoSchedule" + advice},
		"none, for the template's affinity": {zone, require, []string{``}, []string{},
			"spec.template.spec.affinity.nodeAffinity: no node that carries zone=a meets the template's required node affinity, so the pod will stay Pending; label a node, or correct one of the two"},
		"none, for the affinity alone": {soft, require, []string{``}, []string{},
			"spec.template.spec.affinity.nodeAffinity: no node meets the template's required node affinity, so the pod will stay Pending; label a node, or correct the affinity"},
		"none of that name": {zone, `nodeName: n9`, []string{``}, []string{},
			"spec.template.spec.nodeName: the template names node n9, which is not there or must not run the pod, so the pod will not run; remove nodeName, or correct the rule"},
		"none, since the named one has no such label": {`{"key":"zone","values":["b"]}`, `nodeName: n1`, []string{``}, []string{},
			"spec.template.spec.nodeName: the template names node n1, which is not there or must not run the pod, so the pod will not run; remove nodeName, or correct the rule"},
		"none, since the named one evicts": {zone, `nodeName: n1`, []string{broken}, []string{},
			"spec.template.spec.nodeName: the template names node n1, which is not there or must not run the pod, so the pod will not run; remove nodeName, or correct the rule"},
		"none, since there is none": {soft, ``, nil, []string{}, "spec.template.spec.nodeSelector: there is no node, so the pod will stay Pending"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var nodes []client.Object
			for i, spec := range tc.nodes {
				n := node([]string{"n1", "n2", "n3", "n4"}[i], "a")
				if spec == "ssd" {
					n.Labels["disk"], spec = "ssd", ""
				}
				n.Spec = read[corev1.NodeSpec](t, "{"+spec+"}")
				nodes = append(nodes, n)
			}
			set, _ := web()
			set.Spec.Replicas = new(int32(1))
			set.Spec.Template.Annotations["custom-node-selector"] = tc.rule
			set.Spec.Template.Spec = read[corev1.PodSpec](t, "{"+tc.own+"}")
			set.Spec.VolumeClaimTemplates = nil
			rows := plan.Rows([]appsv1.StatefulSet{*set}, plan.Options{})
			reader := fake.NewClientBuilder().WithScheme(scheme()).WithObjects(nodes...).Build()
			if err := (Inventory{Nodes: reader}).Fill(t.Context(), set, rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, rows[0].Nodes); diff != "" {
				t.Errorf("nodes differ (-want +got):\n%s", diff)
			}
			problem := ""
			for _, p := range rows[0].Problems {
				problem += p.Field + ": " + p.Message
			}
			if diff := cmp.Diff(tc.problem, problem); diff != "" {
				t.Errorf("problem differs (-want +got):\n%s", diff)
			}
		})
	}
}
