package rollout

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

const (
	loadNamespace = "rollout-load"
	textbookImage = "sts-webhook-test/textbook:1"
	// replicas of each webhook, as in the manifests.
	replicas = 2
)

// suite is the cluster with both webhooks.
type suite struct {
	*kit.Suite
	ours    *fleet
	control *fleet // nil with -short
	drains  *drains
	rows    []string
}

func TestEndToEndRollout(t *testing.T) {
	s := setUp(t)
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "no creation is lost while replicas come and go", Run: (*suite).testEvents},
		{Name: "a thousand dry runs at once", Run: (*suite).testBurst},
		{Name: "a StatefulSet of a thousand replicas", Run: (*suite).testLargeStatefulSet, Long: true},
		{Name: "kube-apiserver repeats what was refused with Retry-After", Run: (*suite).testRetryAfter},
		{Name: "a burst of the largest bodies", Run: (*suite).testLargestBodies},
		{Name: "idle connections at 90 seconds", Run: (*suite).testIdleTimeout, Long: true},
		{Name: "an upgrade and the way back lose nothing", Run: (*suite).testUpgrade}, // the last one: the version before stays
	})
	s.drains.report(s)
	s.Report(t, "test/rollout", s.table())
}

func setUp(t *testing.T) *suite {
	t.Helper()
	options := kit.Options{Name: "rollout", Timeout: 40 * time.Minute}
	if !testing.Short() {
		options.Programs = map[string]string{textbookImage: "test/textbook"}
	}
	s := &suite{Suite: kit.Start(t, options)}
	s.ours = &fleet{suite: s, name: "ours", namespace: webhook.Namespace, app: webhook.Deployment, program: "/sts-webhook", optIn: webhook.Label}
	s.Namespace(t, loadNamespace)
	if !testing.Short() {
		s.control = &fleet{suite: s, name: "textbook", namespace: "textbook-system", app: "textbook-webhook", program: "/program", optIn: "textbook"}
		s.Kubectl(t, "apply", "-f", s.Path("test/textbook/manifests/textbook.yaml"))
		s.control.scale(t, replicas)
	}
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	kit.Must(t, s.Restart(s.Ctx)) // a kept cluster may still run an older image
	s.ours.settle(t)              // the control starts meanwhile
	s.drains = watchDrains(t, s.ours)
	return s
}

// temporary makes a namespace that is deleted at the end of the chapter.
func (s *suite) temporary(t *testing.T, name string) {
	t.Helper()
	s.Namespace(t, name)
	t.Cleanup(func() {
		if err := s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(s.Ctx), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// target is pods that have the label optIn.
func (s *suite) target(optIn string) load.Target {
	return load.Target{Config: s.Cluster.RESTConfig(), Namespace: loadNamespace, OptIn: optIn}
}

// loads are creations of pods for a webhook, 50 a second, and of pods that no webhook sees, 5 a second: what those take is what the
// cluster itself takes.
type loads struct{ opted, canary *load.Run }

func (s *suite) startLoads(t *testing.T, optIn string) loads {
	t.Helper()
	start := func(optIn string, rate float64) *load.Run {
		run, err := load.Start(s.Ctx, load.Options{Target: s.target(optIn), Rate: rate})
		kit.Must(t, err)
		t.Cleanup(func() { run.Stop() })
		return run
	}
	return loads{canary: start("seen-by-nobody", 5), opted: start(optIn, 50)}
}

// stop also returns the longest time that the cluster took to answer about a pod that no webhook sees. It may be called again.
func (l loads) stop() (report load.Report, stall time.Duration) {
	return l.opted.Stop(), l.canary.Stop().Longest()
}
