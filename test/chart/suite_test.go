package chart

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

const (
	// namespace is where pods are created.
	namespace = "chart-load"
	// name is that of the release.
	name = "sts-webhook"
)

// suite is what the chapters share.
type suite struct {
	*kit.Suite
	// program is Helm, home its directory, chart what is installed: the address of the registry.
	program, home, chart string
}

func TestEndToEndChart(t *testing.T) {
	// Each chapter begins where the one before ended.
	kit.Run(t, setUp(t), []kit.Chapter[*suite]{
		{Name: "pushed to a registry and installed from it", Needed: true, Run: (*suite).testInstall},
		{Name: "upgraded and rolled back under load", Needed: true, Run: (*suite).testUpgrade},
		{Name: "a field that somebody else changed", Needed: true, Run: (*suite).testConflict},
		{Name: "uninstalled under load, with the gate", Needed: true, Run: func(s *suite, t *testing.T) { s.testUninstall(t, true) }},
		{Name: "takes over what kubectl applied", Needed: true, Run: (*suite).testTakeOver},
		{Name: "uninstalled under load", Needed: true, Run: func(s *suite, t *testing.T) { s.testUninstall(t, false) }},
		{Name: "a second release is refused", Run: (*suite).testSecondRelease},
	})
}

// setUp brings up a cluster with the image, without the webhook, and builds Helm.
func setUp(t *testing.T) *suite {
	s := &suite{home: t.TempDir()}
	s.Suite = kit.Start(t, kit.Options{Name: "chart", Timeout: 40 * time.Minute, Meanwhile: func(ctx context.Context) (err error) {
		s.program, err = s.build(ctx, "tool", "-n", "helm")
		return err
	}})
	s.LabelNodes(t)
	s.Namespace(t, namespace)
	return s
}

// build runs the go command in the module that pins Helm and the registry. What it compiles is in Go's build cache.
func (s *suite) build(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = "helm"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+os.Getenv("GOFLAGS")+" -trimpath")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run go %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// startRegistry serves a registry in the cluster's network until the test ends, and returns its address.
func (s *suite) startRegistry(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "registry")
	_, err := s.build(s.Ctx, "build", "-o", program, "./registry")
	kit.Must(t, err)
	argv := append(s.Cluster.Enter("node-1"), program)
	cmd := exec.CommandContext(s.Ctx, argv[0], argv[1:]...)
	cmd.Stderr = kit.Log(t)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	kit.Must(t, err)
	return strings.TrimSpace(address)
}

// runHelm runs Helm as administrator and returns its output, both streams.
func (s *suite) runHelm(args ...string) (string, error) {
	argv := append(s.Cluster.Enter("node-1"), s.program)
	cmd := exec.CommandContext(s.Ctx, argv[0], append(argv[1:], args...)...)
	cmd.Dir = s.home
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Cluster.Kubeconfig(), "HELM_CACHE_HOME="+s.home, "HELM_CONFIG_HOME="+s.home, "HELM_DATA_HOME="+s.home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run helm %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

func (s *suite) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.runHelm(args...)
	kit.Must(t, err)
	return out
}

// roll is for what makes a release, and waits for the webhook's rollout.
func (s *suite) roll(t *testing.T, args ...string) string {
	t.Helper()
	out := s.helm(t, append(args, "--wait", "--timeout", "3m")...)
	kit.Must(t, s.WaitRollout(s.Ctx))
	return out
}

func (s *suite) uninstall(t *testing.T, args ...string) {
	t.Helper()
	out := s.helm(t, append([]string{"uninstall", name, "--wait", "--timeout", "3m"}, args...)...)
	if strings.Contains(out, "not deleted") {
		t.Errorf("got %q, want everything deleted", out)
	}
}

// fails is for what Helm must refuse with these words.
func (s *suite) fails(t *testing.T, words []string, args ...string) {
	t.Helper()
	out, err := s.runHelm(args...)
	for _, word := range words {
		if err == nil || !strings.Contains(out, word) {
			t.Errorf("helm %s: got error %v, output %q, want an error with %q", strings.Join(args, " "), err, out, word)
		}
	}
}

// startLoad begins to create pods with a label in dry runs, 50 a second.
func (s *suite) startLoad(t *testing.T, label string) *load.Run {
	t.Helper()
	run, err := load.Start(s.Ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace, OptIn: label}})
	kit.Must(t, err)
	return run
}
