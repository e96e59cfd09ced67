package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

// loadNamespace is where the pods are created.
const loadNamespace = "chaos-load"

const textbookImage = "sts-webhook-test/textbook:1"

// briskFlags let a rotation take seconds.
var briskFlags = []string{"--ca-overlap=2s", "--rotation-check=1s"}

// world is the cluster with both webhooks.
type world struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface
	// requests is the client that "sts-webhook rotate" uses.
	requests client.Client
	webhook  *webhook.Webhook
	ours     *target
	control  *target
	logs     *logs
	// manifests is a copy of manifests/ with three replicas and briskFlags.
	manifests string
	full      bool
	// pause is how long the load goes on after an event, at least.
	pause time.Duration
}

// flags returns flags with more appended; neither is changed.
func flags(flags []string, more ...string) []string { return slices.Concat(flags, more) }

// newWorld brings everything up, as fresh as a first installation.
func newWorld(ctx context.Context, t *testing.T, full bool) *world {
	t.Helper()
	c := bringUp(ctx, t)
	kube, err := kubernetes.NewForConfig(c.RESTConfig())
	check(t, err)
	requests, err := client.New(c.RESTConfig(), client.Options{})
	check(t, err)
	wh, err := webhook.In(c)
	check(t, err)
	w := &world{cluster: c, client: kube, requests: requests, webhook: wh, ours: ours(c, kube), control: textbook(c, kube), full: full}
	w.pause = time.Second
	if full {
		w.pause = 3 * time.Second
	}
	w.loadImages(ctx, t)
	check(t, w.makeNamespace(ctx))
	check(t, wh.Uninstall(ctx))
	_, err = c.Kubectl(ctx, "delete", "--ignore-not-found", "-f", w.textbookManifest())
	check(t, err)
	_, err = c.Kubectl(ctx, "apply", "-f", w.textbookManifest())
	check(t, err)
	w.manifests = t.TempDir()
	check(t, w.copyManifests())
	check(t, w.apply(ctx))
	w.logs = readLogs(ctx, w.ours)
	for _, target := range []*target{w.ours, w.control} {
		target.seen, err = record(ctx, target)
		check(t, err)
	}
	check(t, w.ours.settle(ctx, time.Minute))
	t.Log("ours has settled")
	check(t, w.hastenControl(ctx))
	return w
}

// hastenControl restarts the textbook once its Secret is filled. It looks for the
// mounted certificate at growing intervals, so that its first boot would take
// minutes; that is not what is measured.
func (w *world) hastenControl(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := w.control.seen.await(ctx, time.Time{}, "the textbook's Secret", func(v version) bool { return !v.deleted && v.whole == nil }); err != nil {
		return err
	}
	return w.control.restart(ctx)
}

func (w *world) textbookManifest() string {
	return w.webhook.Path("test/textbook/manifests/textbook.yaml")
}

// bringUp uses the cluster of that name; one that was not there is removed at the end.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	_, err := cluster.Attach("")
	existed := err == nil
	c, err := cluster.Up(ctx, cluster.Options{Log: logWriter{t}})
	check(t, err)
	t.Cleanup(func() {
		if existed {
			return
		}
		check(t, c.Down())
	})
	return c
}

func (w *world) loadImages(ctx context.Context, t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	ours, control := filepath.Join(dir, "ours.tar"), filepath.Join(dir, "textbook.tar")
	check(t, cluster.BuildWebhookImage(ctx, ours))
	check(t, cluster.BuildProgramImage(ctx, textbookImage, "test/textbook", control))
	for _, archive := range []string{ours, control} {
		check(t, w.cluster.LoadImage(ctx, archive))
	}
	t.Log("images built and loaded")
}

// makeNamespace returns when pods can be created in it.
func (w *world) makeNamespace(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: loadNamespace}}
	if _, err := w.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace: %w", err)
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		_, err := w.client.CoreV1().ServiceAccounts(loadNamespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// copyManifests changes nothing but the Deployment's replicas and flags.
func (w *world) copyManifests() error {
	files, err := filepath.Glob(w.webhook.Path("manifests/*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if filepath.Base(name) == "40-deployment.yaml" {
			d, err := w.deployment(replicas, briskFlags)
			if err != nil {
				return err
			}
			if content, err = yaml.Marshal(d); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(w.manifests, filepath.Base(name)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// deployment is the one of the manifests with other replicas and flags.
func (w *world) deployment(n int32, flags []string) (*appsv1.Deployment, error) {
	content, err := os.ReadFile(w.webhook.Path("manifests/40-deployment.yaml"))
	if err != nil {
		return nil, err
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(content, &d); err != nil {
		return nil, fmt.Errorf("read Deployment: %w", err)
	}
	d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Args = &n, flags
	return &d, nil
}

func (w *world) apply(ctx context.Context) error {
	_, err := w.cluster.Kubectl(ctx, "apply", "-f", w.manifests)
	return err
}

// concurrency bounds the creations under way for each webhook: a second of them.
// Without it a machine that stalls would be kept down by the connections that the
// apiserver makes for each call beyond those it has.
const concurrency = 64

// load starts the load of one target.
func (w *world) load(ctx context.Context, t *target) (*load.Run, error) {
	return load.Start(ctx, load.Options{Target: load.Target{Config: w.cluster.RESTConfig(), Namespace: loadNamespace, OptIn: t.optIn}, Concurrency: concurrency})
}

// logWriter passes whole lines to the test's log.
type logWriter struct{ t *testing.T }

func (l logWriter) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
