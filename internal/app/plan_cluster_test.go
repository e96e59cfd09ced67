package app

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"sts-mutating-webhook/internal/plan"
)

// planIn runs the command against a cluster with these objects.
func planIn(t *testing.T, objects []client.Object, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := newPlan()
	c.dial = func() (client.Client, string, error) {
		return fake.NewClientBuilder().WithScheme(planScheme()).WithObjects(objects...).Build(), "shop", nil
	}
	var groups flagGroups
	c.addFlags(&groups)
	if err := parse(groups.all("plan"), args, c); err != nil {
		return exitUsage, "", err.Error()
	}
	var out, errs bytes.Buffer
	if err := c.run(t.Context(), &out, &errs); err != nil {
		return exitFailure, out.String(), errs.String() + err.Error()
	}
	return exitOK, out.String(), errs.String()
}

// inCluster is the StatefulSet web of zonesYAML as a cluster holds it.
func inCluster(t *testing.T, namespace, rule string) *appsv1.StatefulSet {
	t.Helper()
	m := &plan.Manifests{}
	if err := m.Read(strings.NewReader(zonesYAML(rule)), namespace); err != nil {
		t.Fatal(err)
	}
	return &m.StatefulSets[0]
}

func labelledNode(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": zone}}}
}

func TestPlanOfACluster(t *testing.T) {
	const two, three = `{"key":"zone","values":["a","b"]}`, `{"key":"zone","values":["a","b","c"]}`
	objects := func() []client.Object {
		return []client.Object{inCluster(t, "shop", two), inCluster(t, "other", three), labelledNode("n1", "a"), labelledNode("n2", "b")}
	}
	newer := write(t, zonesYAML(three))
	for sentence, c := range map[string]struct {
		args           []string
		code           int
		stdout, stderr []string // parts
	}{
		"one by name, with its nodes":        {[]string{"statefulset", "web", "-o", "wide"}, exitOK, []string{"shop        web           0", "n1", "n2"}, []string{"1 StatefulSet with 3 pods"}},
		"all of a namespace":                 {[]string{"sts", "-n", "other"}, exitOK, []string{"other"}, []string{"no node carries zone=c"}},
		"all of all namespaces":              {[]string{"sts", "-A"}, exitOK, []string{"other", "shop"}, []string{"2 StatefulSets with 6 pods"}},
		"a file with the nodes":              {[]string{"-f", newer, "--cluster"}, exitOK, []string{"zone=c"}, []string{"warning: statefulset shop/web: spec.template.spec.nodeSelector: no node carries zone=c"}},
		"what a file would move":             {[]string{"-f", newer, "--diff"}, exitOK, []string{"web           2         moved    zone=a   zone=c"}, []string{"moved: 1 of 3 pods"}},
		"one that does not exist":            {[]string{"sts", "db"}, exitFailure, nil, []string{"get StatefulSet shop/db"}},
		"neither file nor argument":          {nil, exitUsage, nil, []string{"--filename: give a file, - for standard input, or the argument statefulset"}},
		"both":                               {[]string{"sts", "-f", newer}, exitUsage, nil, []string{"--filename: give a file"}},
		"another argument":                   {[]string{"deployment"}, exitUsage, nil, []string{`unexpected argument "deployment": want statefulset`}},
		"a name and all namespaces":          {[]string{"sts", "web", "-A"}, exitUsage, nil, []string{"--all-namespaces=true: goes with no name"}},
		"a comparison without a file":        {[]string{"sts", "--diff"}, exitUsage, nil, []string{"--diff=cluster: needs --filename"}},
		"all namespaces without a cluster":   {[]string{"-f", newer, "-A"}, exitUsage, nil, []string{"--all-namespaces=true: needs the argument statefulset"}},
		"one in the namespace that is asked": {[]string{"sts", "web", "-n", "other"}, exitOK, []string{"other"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, stdout, stderr := planIn(t, objects(), c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.stdout {
				if !strings.Contains(stdout, part) {
					t.Errorf("stdout lacks %q:\n%s", part, stdout)
				}
			}
			for _, part := range c.stderr {
				if !strings.Contains(stderr, part) {
					t.Errorf("stderr lacks %q:\n%s", part, stderr)
				}
			}
		})
	}
}

func TestAPlanWithoutAClusterAsksNone(t *testing.T) {
	c := newPlan()
	c.dial = func() (client.Client, string, error) { return nil, "", errors.New("asked") }
	var groups flagGroups
	c.addFlags(&groups)
	file := write(t, zonesYAML(`{"key":"zone","values":["a","b"]}`))
	if err := parse(groups.all("plan"), []string{"-f", file}, c); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.run(t.Context(), &out, &out); err != nil {
		t.Error(err)
	}
	if c.cluster = true; c.run(t.Context(), &out, &out) == nil {
		t.Error("--cluster asks none either")
	}
}
