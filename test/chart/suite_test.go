package chart

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

const (
	// namespace is where pods are created.
	namespace = "chart-load"
	// name is that of the release.
	name = "sts-webhook"
)

// suite is what the chapters share.
type suite struct {
	*webhook.Webhook
	ctx context.Context
	// program is Helm, home its directory, chart what is installed: the address of the registry.
	program, home, chart string
}

func TestEndToEndChart(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-chart) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx, home: t.TempDir()}
	s.setUp(t)
	for _, chapter := range []struct {
		name string
		run  func(*suite, *testing.T)
	}{
		{"pushed to a registry and installed from it", (*suite).testInstall},
		{"upgraded and rolled back under load", (*suite).testUpgrade},
		{"a field that somebody else changed", (*suite).testConflict},
		{"uninstalled under load, with the gate", func(s *suite, t *testing.T) { s.testUninstall(t, true) }},
		{"takes over what kubectl applied", (*suite).testTakeOver},
		{"uninstalled under load", func(s *suite, t *testing.T) { s.testUninstall(t, false) }},
		{"a second release is refused", (*suite).testSecondRelease},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.run(s, t) }) {
			break // each begins where the one before ended
		}
	}
}

// setUp brings up a cluster with the image, without the webhook, and builds Helm.
func (s *suite) setUp(t *testing.T) {
	work, ctx := errgroup.WithContext(s.ctx)
	work.Go(func() (err error) {
		s.program, err = s.build(ctx, "tool", "-n", "helm")
		return err
	})
	c := bringUp(s.ctx, t)
	must(t, work.Wait())
	var err error
	s.Webhook, err = webhook.In(c)
	must(t, err)
	for node, label := range map[string]string{"node-1": "name=node1", "node-2": "name=node2"} {
		s.kubectl(t, "label", "--overwrite", "node", node, label)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := s.Client.CoreV1().Namespaces().Create(s.ctx, ns, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	s.eventually(t, time.Minute, func() error {
		_, err := s.Client.CoreV1().ServiceAccounts(namespace).Get(s.ctx, "default", metav1.GetOptions{})
		return err
	})
}

// bringUp returns the cluster with the image on every node.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-chart" // not the one that somebody looks at
	if _, err := cluster.Attach(name); err != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := cluster.Down(ctx, name); err != nil {
				t.Error(err)
			}
		})
	}
	archive := filepath.Join(t.TempDir(), "sts-webhook.tar")
	var c *cluster.Cluster
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Log: testLog{t}})
		return err
	})
	work.Go(func() error { return cluster.BuildWebhookImage(workCtx, archive) })
	must(t, work.Wait())
	must(t, c.LoadImage(ctx, archive))
	return c
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
	_, err := s.build(s.ctx, "build", "-o", program, "./registry")
	must(t, err)
	argv := append(s.Cluster.Enter("node-1"), program)
	cmd := exec.CommandContext(s.ctx, argv[0], argv[1:]...)
	cmd.Stderr = testLog{t}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return strings.TrimSpace(address)
}

// runHelm runs Helm as administrator and returns its output, both streams.
func (s *suite) runHelm(args ...string) (string, error) {
	argv := append(s.Cluster.Enter("node-1"), s.program)
	cmd := exec.CommandContext(s.ctx, argv[0], append(argv[1:], args...)...)
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
	must(t, err)
	return out
}

// startLoad begins to create pods with a label in dry runs, 50 a second.
func (s *suite) startLoad(t *testing.T, label string) *load.Run {
	t.Helper()
	run, err := load.Start(s.ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace, OptIn: label}})
	must(t, err)
	return run
}

// kubectl runs kubectl and returns its output.
func (s *suite) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Cluster.Kubectl(s.ctx, args...)
	must(t, err)
	return out
}

// eventually polls until done returns nil.
func (s *suite) eventually(t *testing.T, limit time.Duration, done func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.ctx, 50*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = done()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("after %s: %v", limit, last)
	}
}

// pause lets time pass for the load.
func (s *suite) pause(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog passes whole lines to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
