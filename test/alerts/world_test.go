package alerts

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

const (
	replicas     = 3
	standInImage = "sts-webhook-test/standin:1"
	// waitTimeout bounds each wait for the cluster.
	waitTimeout = 2 * time.Minute
)

// flags of the webhook in the story. A short overlap lets a rotation end in seconds.
var flags = []string{
	"--dingtalk-allow-http", "--alert-language=en", "--alert-timezone=UTC", "--cluster-name=" + clusterName,
	"--ca-overlap=2s", "--rotation-check=1s",
}

const clusterName = "proof"

// world is what the chapters share.
type world struct {
	*webhook.Webhook
	ctx  context.Context
	full bool
	// fleet is the robot that the replicas report to, trial and strict are for
	// alert-test; strict asks for a keyword that no message holds, team hears of one namespace.
	fleet, trial, strict, team robot
	// namespace is where the story's pods are created.
	namespace string
	// printed is what alert-test printed, to be searched for secrets.
	printed []string
	// off and hung are the loads without alerts and with a robot that hangs.
	off, hung []round
	// nudges counts the annotations that make the kubelets look at once.
	nudges int
	// sets counts the owners of pods made by create, reviews those of direct calls.
	sets    int
	reviews atomic.Int64
}

func newWorld(ctx context.Context, t *testing.T, full bool) *world {
	t.Helper()
	begin := time.Now()
	c := bringUp(ctx, t)
	w := &world{ctx: ctx, full: full}
	var err error
	w.Webhook, err = webhook.In(c)
	must(t, err)
	w.install(t)
	w.namespace = w.makeNamespace(t, "proof")
	w.startStandIn(t)
	t.Logf("cluster %s, three replicas and the stand-in are up after %.1f s", c.Name(), time.Since(begin).Seconds())
	return w
}

// bringUp returns a new cluster with both images, built while it comes up. It is
// removed at the end.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-told" // not the one that make demo leaves
	must(t, cluster.Down(ctx, name))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := cluster.Down(ctx, name); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	ours, standIn := filepath.Join(dir, "ours.tar"), filepath.Join(dir, "standin.tar")
	var c *cluster.Cluster
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Log: testLog{t}})
		return err
	})
	work.Go(func() error {
		if err := cluster.BuildWebhookImage(workCtx, ours); err != nil {
			return err
		}
		return cluster.BuildProgramImage(workCtx, standInImage, "internal/alert/dingtalktest/standin", standIn)
	})
	must(t, work.Wait())
	for _, archive := range []string{ours, standIn} {
		must(t, c.LoadImage(ctx, archive))
	}
	return c
}

// install applies the manifests, the Deployment with three replicas and the flags,
// and waits until none of another kind is left.
func (w *world) install(t *testing.T) {
	t.Helper()
	args, err := json.Marshal(flags)
	must(t, err)
	patch := fmt.Sprintf(`{"spec":{"replicas":%d,"template":{"spec":{
		"containers":[{"name":%q,"args":%s,"volumeMounts":[{"name":"team","mountPath":"/etc/sts-webhook/robots/team","readOnly":true}]}],
		"volumes":[{"name":"team","secret":{"secretName":%q,"optional":true,"defaultMode":288}}]}}}}`, replicas, webhook.Deployment, args, teamSecret)
	files, err := filepath.Glob(w.Path("manifests/*.yaml"))
	must(t, err)
	dir := t.TempDir()
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		if filepath.Base(file) == "40-deployment.yaml" {
			patched, err := w.Cluster.Kubectl(w.ctx, "patch", "--local", "-f", file, "-o", "yaml", "-p", patch)
			must(t, err)
			content = []byte(patched)
		}
		must(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o600))
	}
	_, err = w.Cluster.Kubectl(w.ctx, "apply", "-f", dir)
	must(t, err)
	must(t, w.WaitRollout(w.ctx))
}

// makeNamespace makes a namespace in which pods can be created.
func (w *world) makeNamespace(t *testing.T, name string) string {
	t.Helper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := w.Client.CoreV1().Namespaces().Create(w.ctx, object, metav1.CreateOptions{})
	must(t, err)
	w.eventually(t, waitTimeout, func() error {
		_, err := w.Client.CoreV1().ServiceAccounts(name).Get(w.ctx, "default", metav1.GetOptions{})
		return err
	})
	return name
}

// replicaPods are the three replicas that serve.
func (w *world) replicaPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	w.eventually(t, waitTimeout, func() (err error) {
		if pods, err = w.Replicas(w.ctx); err == nil && len(pods) != replicas {
			err = fmt.Errorf("%d replicas, want %d", len(pods), replicas)
		}
		return err
	})
	return pods
}

// eventually polls until done returns nil; its last error says why not.
func (w *world) eventually(t *testing.T, limit time.Duration, done func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.ctx, 200*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = done()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, last)
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
