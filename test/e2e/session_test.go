package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/kit"
)

var update = flag.Bool("update", false, "write testdata and documents instead of comparing with them")

// compareGolden fails unless the file holds the text.
func compareGolden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		kit.Must(t, os.WriteFile(file, []byte(text), 0o644))
	}
	want, err := os.ReadFile(file)
	kit.Must(t, err)
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

// session is a terminal: what is typed, and what is printed, by both streams.
type session struct {
	*suite
	dir  string // where files are applied from
	text strings.Builder
}

func (s *suite) session(t *testing.T) *session { return &session{suite: s, dir: t.TempDir()} }

// section is a part of a transcript in which a StatefulSet is applied.
type section struct {
	title string
	set   *appsv1.StatefulSet
}

// section begins a part of the transcript.
func (s *session) section(sentence string) { fmt.Fprintf(&s.text, "# %s\n", sentence) }

// run notes what the command prints, and whether it failed. The vector is the command's, without what is of this cluster alone.
func (s *session) run(t *testing.T, typed string, vector []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(s.Ctx, waitTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, vector[0], vector[1:]...)
	command.Dir = s.dir
	command.Env = append(os.Environ(), "KUBECONFIG="+s.Cluster.Kubeconfig())
	out, err := command.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatal(err)
	}
	fmt.Fprintf(&s.text, "$ %s\n%s", typed, out)
	if code := command.ProcessState.ExitCode(); code != 0 {
		fmt.Fprintf(&s.text, "(exit code %d)\n", code)
	}
	s.text.WriteByte('\n')
}

func (s *session) kubectl(t *testing.T, args ...string) {
	t.Helper()
	s.run(t, "kubectl "+strings.Join(args, " "), s.Cluster.KubectlCommand(args...))
}

// apply writes the StatefulSet into a file of its name, as one of the namespace shop, and applies it.
func (s *session) apply(t *testing.T, set *appsv1.StatefulSet) {
	t.Helper()
	s.kubectl(t, "apply", "-f", s.file(t, set))
}

func (s *session) file(t *testing.T, set *appsv1.StatefulSet) string {
	t.Helper()
	set = set.DeepCopy()
	set.TypeMeta, set.Namespace = metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, shop
	text, err := yaml.Marshal(set)
	kit.Must(t, err)
	name := set.Name + ".yaml"
	kit.Must(t, os.WriteFile(filepath.Join(s.dir, name), text, 0o600))
	return name
}

// webhook runs the program of the image, which is the one of a replica's container, as an administrator would.
func (s *session) webhook(t *testing.T, args ...string) {
	t.Helper()
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	program := filepath.Join(processOf(t, replicas[0]), "root/sts-webhook")
	s.run(t, "sts-webhook "+strings.Join(args, " "), append(append(s.Cluster.Enter("node-1"), program), args...))
}
