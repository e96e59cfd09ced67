package webhook

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRolledOut(t *testing.T) {
	done := appsv1.DeploymentStatus{ObservedGeneration: 7, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	for name, test := range map[string]struct {
		change func(*appsv1.DeploymentStatus)
		want   bool
	}{
		"two new available replicas are a finished rollout":  {func(*appsv1.DeploymentStatus) {}, true},
		"a status of the previous template says nothing yet": {func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 6 }, false},
		"an old replica that still serves is not finished":   {func(s *appsv1.DeploymentStatus) { s.Replicas = 3 }, false},
		"a replica of the old template is not finished":      {func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 1 }, false},
		"a replica that is not Ready is not finished":        {func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 7}, Status: done}
			d.Spec.Replicas = new(int32)
			*d.Spec.Replicas = 2
			test.change(&d.Status)
			if got := rolledOut(d); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestArgsPatch(t *testing.T) {
	frame := `{"spec":{"template":{"spec":{"containers":[{"name":"sts-webhook","args":ARGS}]}}}}`
	for name, test := range map[string]struct {
		flags []string
		want  string
	}{
		"no flags remove the field":    {nil, "null"},
		"flags are quoted as JSON":     {[]string{"--v=1", `--cluster-name="a"`}, `["--v=1","--cluster-name=\"a\""]`},
		"one flag is a list of itself": {[]string{"--v=1"}, `["--v=1"]`},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := string(argsPatch(test.flags)), strings.Replace(frame, "ARGS", test.want, 1); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestSum(t *testing.T) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(`# TYPE calls_total counter
calls_total{result="placed",reason=""} 3
calls_total{result="denied",reason="a"} 4
calls_total{result="denied",reason="b"} 5
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		labels map[string]string
		want   float64
	}{
		"no labels mean every series":          {nil, 12},
		"one label selects its series":         {map[string]string{"result": "denied"}, 9},
		"two labels select what carries both":  {map[string]string{"result": "denied", "reason": "b"}, 5},
		"an empty value is a value":            {map[string]string{"reason": ""}, 3},
		"a label that no series has is a zero": {map[string]string{"code": "403"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sum(families["calls_total"], test.labels); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestCheckoutIsAboveTheWorkingDirectory(t *testing.T) {
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root + "/manifests/40-deployment.yaml"); err != nil {
		t.Error(err)
	}
	t.Chdir("/")
	if root, err := checkout(); err == nil {
		t.Errorf("outside a checkout: got %q, want an error", root)
	}
}
