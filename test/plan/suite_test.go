package plan

import (
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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// suite is a cluster with the webhook and the fake nodes.
type suite struct {
	*webhook.Webhook
	ctx context.Context
	// binary is the program whose command is tested.
	binary string
	// pods and events are kept up to date by informers.
	pods   cache.Store
	events cache.Indexer
	// covered counts classes of samples and of outcomes.
	covered map[string]int
	// failed are the numbers of the samples that are not as planned.
	failed map[int]bool
}

// setUp brings up an empty cluster and installs the webhook.
func setUp(t *testing.T, limit time.Duration) *suite {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("TEST_CLUSTER is set, but bringing up a real cluster needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx, binary: filepath.Join(t.TempDir(), "sts-webhook"), covered: map[string]int{}, failed: map[int]bool{}}
	c := bringUp(ctx, t, s.binary)
	var err error
	s.Webhook, err = webhook.In(c)
	must(t, err)
	took, err := s.Install(ctx)
	must(t, err)
	must(t, s.StopChecks(ctx)) // what is wrong shall be stored, and its pods refused
	t.Logf("webhook installed in %.1f s", took.Seconds())
	return s
}

// bringUp returns a new cluster, built while the image and the program are.
func bringUp(ctx context.Context, t *testing.T, binary string) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	must(t, err)
	name += "-plan" // not the one that make demo leaves
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
		c, err = cluster.Up(workCtx, cluster.Options{Name: name, Log: testLog{t}})
		return err
	})
	work.Go(func() error {
		if err := cluster.BuildWebhookImage(workCtx, archive); err != nil {
			return err
		}
		if out, err := exec.CommandContext(workCtx, "go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
			return fmt.Errorf("build program: %w\n%s", err, out)
		}
		return nil
	})
	must(t, work.Wait())
	must(t, c.LoadImage(ctx, archive))
	return c
}

// watch keeps pods and events.
func (s *suite) watch(t *testing.T) {
	factory := informers.NewSharedInformerFactory(s.Client, 0)
	pods, events := factory.Core().V1().Pods().Informer(), factory.Core().V1().Events().Informer()
	s.pods, s.events = pods.GetStore(), events.GetIndexer()
	must(t, events.AddIndexers(cache.Indexers{byObject: func(obj any) ([]string, error) {
		return []string{string(obj.(*corev1.Event).InvolvedObject.UID)}, nil
	}}))
	ctx, stop := context.WithCancel(s.ctx)
	factory.Start(ctx.Done())
	t.Cleanup(func() { stop(); factory.Shutdown() })
	factory.WaitForCacheSync(ctx.Done())
}

// byObject indexes events by the UID of the object that they are about.
const byObject = "object"

// eventually waits until done returns nil.
func (s *suite) eventually(t *testing.T, limit time.Duration, done func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.ctx, 100*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		last = done(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("after %v: %v: %v", limit, err, last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
