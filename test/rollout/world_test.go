package rollout

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

const (
	loadNamespace = "rollout-load"
	textbookImage = "sts-webhook-test/textbook:1"
	// replicas of each webhook, as in the manifests.
	replicas = 2
)

// world is the cluster with both webhooks.
type world struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface
	webhook *webhook.Webhook
	ours    *fleet
	control *fleet // nil in the short form
	full    bool
	drains  *drains
	rows    []row
	remarks []string
}

func newWorld(ctx context.Context, t *testing.T, full bool) *world {
	t.Helper()
	c, ours, control := bringUp(ctx, t, full)
	wh, err := webhook.In(c)
	must(t, err)
	w := &world{cluster: c, client: wh.Client, webhook: wh, full: full}
	w.ours = &fleet{world: w, name: "ours", namespace: webhook.Namespace, app: webhook.Deployment, program: "/sts-webhook", optIn: webhook.Label}
	must(t, c.LoadImage(ctx, ours))
	must(t, w.makeNamespace(ctx, loadNamespace))
	if full {
		w.control = &fleet{world: w, name: "textbook", namespace: "textbook-system", app: "textbook-webhook", program: "/program", optIn: "textbook"}
		must(t, c.LoadImage(ctx, control))
		_, err := c.Kubectl(ctx, "apply", "-f", wh.Path("test/textbook/manifests/textbook.yaml"))
		must(t, err)
		must(t, w.control.scale(ctx, replicas))
	}
	_, err = wh.Install(ctx)
	must(t, err)
	must(t, wh.Restart(ctx))    // a kept cluster may still run an older image
	must(t, w.ours.settle(ctx)) // the control starts meanwhile
	w.drains = watchDrains(ctx, t, w.ours)
	return w
}

// bringUp returns the cluster and the archives of both images, built meanwhile.
func bringUp(ctx context.Context, t *testing.T, full bool) (c *cluster.Cluster, ours, control string) {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-rollout" // not the one that somebody looks at
	if _, err := cluster.Attach(name); err != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := cluster.Down(ctx, name); err != nil {
				t.Error(err)
			}
		})
	}
	dir := t.TempDir()
	ours, control = filepath.Join(dir, "ours.tar"), filepath.Join(dir, "textbook.tar")
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Log: testLog{t}})
		return err
	})
	work.Go(func() error { return cluster.BuildWebhookImage(workCtx, ours) })
	if full {
		work.Go(func() error {
			return cluster.BuildProgramImage(workCtx, textbookImage, "test/textbook", control)
		})
	}
	must(t, work.Wait())
	return c, ours, control
}

// makeNamespace returns when pods can be created in it.
func (w *world) makeNamespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		_, err := w.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// until polls until done returns nil; its last error says why not, when the limit is reached.
func until(ctx context.Context, limit time.Duration, done func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		// What the end of ctx makes of the last attempt explains nothing.
		if err := done(ctx); err == nil || ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("after %s: %w", limit, last)
	}
	return err
}

// sleep waits, or fails when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
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
	l.t.Logf("%s", p)
	return len(p), nil
}
