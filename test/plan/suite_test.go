package plan

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"sts-mutating-webhook/test/kit"
)

// suite is a cluster with the webhook and the fake nodes.
type suite struct {
	*kit.Suite
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
	binary := filepath.Join(t.TempDir(), "sts-webhook")
	s := &suite{binary: binary, covered: map[string]int{}, failed: map[int]bool{}}
	s.Suite = kit.Start(t, kit.Options{Name: "plan", Timeout: limit, Fresh: true, Meanwhile: func(ctx context.Context) error {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
			return fmt.Errorf("build program: %w\n%s", err, out)
		}
		return nil
	}})
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	kit.Must(t, s.StopChecks(s.Ctx)) // what is wrong shall be stored, and its pods refused
	return s
}

// watch keeps pods and events.
func (s *suite) watch(t *testing.T) {
	factory := informers.NewSharedInformerFactory(s.Client, 0)
	pods, events := factory.Core().V1().Pods().Informer(), factory.Core().V1().Events().Informer()
	s.pods, s.events = pods.GetStore(), events.GetIndexer()
	kit.Must(t, events.AddIndexers(cache.Indexers{byObject: func(obj any) ([]string, error) {
		return []string{string(obj.(*corev1.Event).InvolvedObject.UID)}, nil
	}}))
	ctx, stop := context.WithCancel(s.Ctx)
	factory.Start(ctx.Done())
	t.Cleanup(func() { stop(); factory.Shutdown() })
	factory.WaitForCacheSync(ctx.Done())
}

// byObject indexes events by the UID of the object that they are about.
const byObject = "object"
