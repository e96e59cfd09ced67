package gate

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
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
	"sts-mutating-webhook/test/document"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// writer names this package in the markers of a document.
const writer = "test/gate"

// namespace is where pods are created.
const namespace = "gate-load"

// suite is what the chapters share.
type suite struct {
	*webhook.Webhook
	ctx    context.Context
	full   bool
	report []string
}

func TestEndToEndGate(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-gate) and be root")
	}
	only, err := regexp.Compile(os.Getenv("GATE_ONLY"))
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Hour)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx, full: os.Getenv("GATE") == "full"}
	s.setUp(t)
	for _, chapter := range []struct {
		name string
		run  func(*suite, *testing.T)
		full bool // not in the short form
	}{
		{"every replica away, with each policy", (*suite).testOutage, false},
		{"the gate is turned on and off under load", (*suite).testSwitch, false},
		{"replicas are killed under load", (*suite).testKills, true},
		{"without the policy or its binding", (*suite).testMissingPolicy, false},
		{"the guard refuses what was stripped", (*suite).testGuard, false},
		{"the service account can only place pods behind the gate", (*suite).testConfinement, false},
		{"another webhook takes away what ours gave", (*suite).testStripped, false},
		{"the gate in the pod template", (*suite).testTemplate, false},
		{"what cannot be placed after an outage", (*suite).testUnplaceable, false},
		{"a node with a replica vanishes", (*suite).testVanishedNode, true},
		{"many pods at once", (*suite).testMany, true},
	} {
		if only.MatchString(chapter.name) && (s.full || !chapter.full || only.String() != "") {
			t.Run(chapter.name, func(t *testing.T) { chapter.run(s, t) })
		}
	}
	report := strings.Join(s.report, "\n\n")
	fmt.Println(report)
	if file := os.Getenv("GATE_TABLE"); file != "" && !t.Failed() {
		must(t, document.Replace(s.Path(file), writer, report))
	}
}

// setUp installs the webhook, without the gate, in a cluster of three nodes of which
// two are labelled: on the third no pod is right.
func (s *suite) setUp(t *testing.T) {
	c := bringUp(s.ctx, t)
	var err error
	s.Webhook, err = webhook.In(c)
	must(t, err)
	for node, label := range map[string]string{"node-1": "name=node1", "node-2": "name=node2"} {
		s.kubectl(t, "label", "--overwrite", "node", node, label)
	}
	_, err = s.Install(s.ctx)
	must(t, err)
	must(t, s.Restart(s.ctx)) // a kept cluster may still run an older image
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
	name += "-gate" // not the one that somebody looks at
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

// startLoad begins to create pods in dry runs, 50 a second.
func (s *suite) startLoad(t *testing.T) *load.Run { return s.startLoadAt(t, 50) }

func (s *suite) startLoadAt(t *testing.T, rate float64) *load.Run {
	t.Helper()
	run, err := load.Start(s.ctx, load.Options{Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace}, Rate: rate})
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

func (s *suite) remark(format string, args ...any) {
	s.report = append(s.report, fmt.Sprintf(format, args...))
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
