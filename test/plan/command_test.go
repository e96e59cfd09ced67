package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/test/kit"
)

// plans is what one call of the command says, by StatefulSet.
type plans map[types.NamespacedName][]plan.Row

func keyOf(set *appsv1.StatefulSet) types.NamespacedName { return client.ObjectKeyFromObject(set) }

// planFile runs plan -f FILE --cluster.
func (s *suite) planFile(t *testing.T, sets []*appsv1.StatefulSet) plans {
	t.Helper()
	var text bytes.Buffer
	for _, set := range sets {
		document, err := yaml.Marshal(set)
		kit.Must(t, err)
		fmt.Fprintf(&text, "---\n%s", document)
	}
	file := filepath.Join(t.TempDir(), "sets.yaml")
	kit.Must(t, os.WriteFile(file, text.Bytes(), 0o600))
	return s.plan(t, "-f", file, "--cluster")
}

// planLive runs plan statefulset in a namespace, for those of these that are in it.
func (s *suite) planLive(t *testing.T, namespace string, sets []*appsv1.StatefulSet) plans {
	t.Helper()
	args := []string{"statefulset", "--namespace", namespace}
	for _, set := range sets {
		if set.Namespace == namespace {
			args = append(args, set.Name)
		}
	}
	if len(args) == 3 {
		return nil
	}
	return s.plan(t, args...)
}

// plan runs the command, with JSON as its output. It must exit with 1 if there is an error in the rows, and else with 0.
func (s *suite) plan(t *testing.T, args ...string) plans {
	t.Helper()
	argv := append(s.Cluster.Enter(s.Cluster.Nodes()[0]), s.binary, "plan", "--output=json", "--kubeconfig="+s.Cluster.Kubeconfig())
	argv = append(argv, args...)
	cmd := exec.CommandContext(s.Ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("plan %v: %v\n%s", args, err, &stderr)
	}
	var rows []plan.Row
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatalf("plan %v: %v\n%s", args, err, &stderr)
	}
	found, wrong := plans{}, false
	for _, row := range rows {
		k := types.NamespacedName{Namespace: row.Namespace, Name: row.StatefulSet}
		found[k] = append(found[k], row)
		wrong = wrong || row.Refused()
	}
	if wrong != (err != nil) {
		t.Errorf("plan %v: exit %v, and an error in its rows: %v", args, err, wrong)
	}
	return found
}
