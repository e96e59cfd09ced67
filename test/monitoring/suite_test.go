package monitoring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// namespace is where pods are created.
const namespace = "watched"

// waitTimeout bounds the wait for an alert or for its end.
const waitTimeout = 90 * time.Second

// suite is what the incidents share.
type suite struct {
	*webhook.Webhook
	*prometheus
	ctx context.Context
	// begun and ended are when the incident of an alert did.
	begun, ended map[string]time.Time
	report       []string
}

func TestEndToEndMonitoring(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-monitoring) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx, begun: map[string]time.Time{}, ended: map[string]time.Time{}}
	s.setUp(t)
	all := true // chapters ran
	for _, chapter := range []struct {
		name string
		run  func(*suite, *testing.T)
	}{
		{"the Prometheus operator's definitions accept the manifests", (*suite).testManifests},
		{"no alert while all is well", (*suite).testQuiet},
		// The pod and the certificate are left as they are until their own chapters.
		{"all replicas are gone, and come back with a short certificate and a pod that cannot be placed", (*suite).testNoReplica},
		{"pods are refused, and DingTalk cannot be reached", (*suite).testDenials},
		{"nobody reads the log", (*suite).testLog}, // and all three alerts end
		{"the CPU is throttled", (*suite).testSlow},
		{"the right to write and the trust are lost", (*suite).testTrust},
		{"a pod waits behind the gate", (*suite).testWaiting},
		{"the certificate ends soon", (*suite).testCertificate},
		{"no alert is left", (*suite).testQuiet},
		{"the FlowSchema classifies the requests of the replicas", (*suite).testFlowSchema},
	} {
		begin, ran := time.Now(), false
		ok := t.Run(chapter.name, func(t *testing.T) { ran = true; chapter.run(s, t) })
		t.Logf("%s: %.1f s", chapter.name, time.Since(begin).Seconds())
		all = all && ran && ok
		if !ok { // the chapters build on each other
			break
		}
	}
	for _, r := range readRules(t).alerts() {
		if all && s.begun[r.Alert].IsZero() {
			t.Errorf("no incident made %s fire", r.Alert)
		}
	}
	fmt.Println(strings.Join(s.report, "\n"))
}

// setUp installs the webhook with a robot that cannot be reached, the FlowSchema and the gate, and starts Prometheus.
func (s *suite) setUp(t *testing.T) {
	c := bringUp(s.ctx, t)
	var err error
	s.Webhook, err = webhook.In(c)
	must(t, err)
	for node, label := range map[string]string{"node-1": "name=node1", "node-2": "name=node2"} {
		s.kubectl(t, "label", "--overwrite", "node", node, label)
	}
	s.kubectl(t, "apply", "-f", s.Path("manifests/optional/flow-schema"))
	s.kubectl(t, "apply", "-f", s.Path("manifests/00-namespace.yaml"))
	// Nothing listens on port 1.
	s.kubectl(t, "--namespace", webhook.Namespace, "create", "secret", "generic", "sts-webhook-dingtalk",
		"--from-literal=url=https://127.0.0.1:1/robot/send?access_token=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	_, err = s.Install(s.ctx)
	must(t, err)
	s.kubectl(t, "create", "namespace", namespace)
	must(t, s.StartGate(s.ctx))
	s.prometheus = startPrometheus(s.ctx, t, s.Webhook)
}

// bringUp returns the cluster with the image on every node.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-watch" // not the one that somebody looks at
	must(t, cluster.Down(ctx, name))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cluster.Down(ctx, name); err != nil {
			t.Error(err)
		}
	})
	archive := filepath.Join(t.TempDir(), "sts-webhook.tar")
	var c *cluster.Cluster
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Nodes: 2, Log: testLog{t}})
		return err
	})
	work.Go(func() error { return cluster.BuildWebhookImage(workCtx, archive) })
	must(t, work.Wait())
	must(t, c.LoadImage(ctx, archive))
	return c
}

// begin notes that the incident of these alerts begins now.
func (s *suite) begin(alerts ...string) {
	for _, name := range alerts {
		s.begun[name] = time.Now()
	}
}

// end notes that it ends now.
func (s *suite) end(alerts ...string) {
	for _, name := range alerts {
		s.ended[name] = time.Now()
	}
}

// fires waits until the alert does.
func (s *suite) fires(t *testing.T, name string) {
	t.Helper()
	var found alert
	s.eventually(t, waitTimeout, func() error {
		all, err := s.alerts(s.ctx)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.Labels["alertname"] == name && a.State == "firing" {
				found = a
				return nil
			}
		}
		return fmt.Errorf("%s does not fire; pending or firing are %+v", name, all)
	})
	delete(found.Labels, "alertname")
	s.remark("%-28s fires %6.1f s after its incident began: %s %v", name, time.Since(s.begun[name]).Seconds(), found.Value, found.Labels)
}

// gone waits until nothing is pending or firing with these names.
func (s *suite) gone(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		s.eventually(t, waitTimeout, func() error {
			all, err := s.alerts(s.ctx)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(all, func(a alert) bool { return a.Labels["alertname"] == name }) {
				return fmt.Errorf("%s goes on: %+v", name, all)
			}
			return nil
		})
		s.remark("%-28s was gone %5.1f s after its incident ended", name, time.Since(s.ended[name]).Seconds())
	}
}

// testQuiet waits until two replicas are scraped and there is no alert, not even a pending one.
func (s *suite) testQuiet(t *testing.T) {
	s.eventually(t, waitTimeout, func() error {
		up, err := s.query(s.ctx, "sts_webhook_trusted == 1")
		if err != nil {
			return err
		}
		all, err := s.alerts(s.ctx)
		if err != nil {
			return err
		}
		if len(up) != 2 || len(all) > 0 {
			return fmt.Errorf("%d replicas are trusted and there are the alerts %+v, want 2 and none", len(up), all)
		}
		return nil
	})
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
	last := errors.New("never tried")
	err := wait.PollUntilContextTimeout(s.ctx, 100*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = done()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("after %s: %v", limit, last)
	}
}

func (s *suite) remark(format string, args ...any) {
	s.report = append(s.report, fmt.Sprintf(format, args...))
}

// testLog passes whole lines to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
