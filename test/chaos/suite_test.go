package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// loadNamespace is where the pods are created.
const loadNamespace = "chaos-load"

// suite is the cluster with both webhooks.
type suite struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface
	// requests is the client that "sts-webhook rotate" uses.
	requests client.Client
	webhook  *webhook.Webhook
	ours     *target
	control  *target
	logs     *logs
	// manifests is a copy of manifests/ with three replicas and quickFlags.
	manifests string
	full      bool
	// pause is how long the load goes on after an event, at least.
	pause time.Duration
	// second is a second apiserver; nil while there is none.
	second *cluster.Second
}

// newSuite brings everything up, as fresh as a first installation.
func newSuite(ctx context.Context, t *testing.T, full bool) *suite {
	t.Helper()
	c := bringUp(ctx, t)
	kube, err := kubernetes.NewForConfig(c.RESTConfig())
	must(t, err)
	requests, err := client.New(c.RESTConfig(), client.Options{})
	must(t, err)
	wh, err := webhook.In(c)
	must(t, err)
	s := &suite{cluster: c, client: kube, requests: requests, webhook: wh, ours: ours(c, kube), control: textbook(c, kube), full: full}
	s.pause = time.Second
	if full {
		s.pause = 3 * time.Second
	}
	must(t, s.loadImages(ctx, t.TempDir()))
	t.Log("images built and loaded")
	must(t, s.makeNamespace(ctx))
	must(t, s.removeLeftovers(ctx))
	must(t, wh.Uninstall(ctx))
	_, err = c.Kubectl(ctx, "delete", "--ignore-not-found", "-f", s.textbookManifest())
	must(t, err)
	_, err = c.Kubectl(ctx, "apply", "-f", s.textbookManifest())
	must(t, err)
	s.manifests = t.TempDir()
	must(t, s.copyManifests(s.manifests, nil))
	must(t, s.apply(ctx))
	s.logs = readLogs(ctx, s.ours)
	for _, target := range []*target{s.ours, s.control} {
		target.seen, err = record(ctx, target)
		must(t, err)
	}
	must(t, s.ours.settle(ctx, time.Minute))
	t.Log("ours has settled")
	must(t, s.hastenControl(ctx))
	return s
}

// hastenControl restarts the textbook once its Secret is filled. It looks for the
// mounted certificate at growing intervals, so that its first boot would take
// minutes; that is not what is measured.
func (s *suite) hastenControl(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := s.control.seen.await(ctx, time.Time{}, secretKind, "the textbook's Secret", version.isWhole); err != nil {
		return err
	}
	return s.control.restart(ctx)
}

// bringUp uses the cluster of that name; one that was not there is removed at the end.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	_, err := cluster.Attach("")
	existed := err == nil
	c, err := cluster.Up(ctx, cluster.Options{Log: logWriter{t}})
	must(t, err)
	t.Cleanup(func() {
		if existed {
			return
		}
		must(t, c.Down())
	})
	return c
}

// removeLeftovers ends what a run that was killed in the middle of a scenario left.
func (s *suite) removeLeftovers(ctx context.Context) error {
	if err := s.cluster.KillDaemon(ctx, cluster.SecondAPIServer); err != nil {
		return err
	}
	for _, node := range s.cluster.Nodes() {
		_ = s.cluster.Reconnect(ctx, node) // an error is that no pod is cut off
	}
	return s.removeSecond(ctx)
}

// makeNamespace returns when pods can be created in it.
func (s *suite) makeNamespace(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: loadNamespace}}
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		_, err := s.client.CoreV1().ServiceAccounts(loadNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// logWriter passes whole lines to the test's log.
type logWriter struct{ t *testing.T }

func (l logWriter) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
