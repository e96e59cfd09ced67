package chaos

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// loadNamespace is where the pods are created.
const loadNamespace = "chaos-load"

// suite is the cluster with both webhooks.
type suite struct {
	*kit.Suite
	// requests is the client that "sts-webhook rotate" uses.
	requests client.Client
	ours     *target
	control  *target
	logs     *logs
	// manifests is a copy of manifests/ with three replicas and quickFlags.
	manifests string
	// pause is how long the load goes on after an event, at least.
	pause time.Duration
	// second is a second apiserver; nil while there is none.
	second *cluster.Second
}

// setUp brings everything up, as fresh as a first installation.
func setUp(t *testing.T) *suite {
	t.Helper()
	s := &suite{pause: 3 * time.Second}
	options := kit.Options{Name: "chaos", Timeout: time.Hour, Programs: map[string]string{textbookImage: "test/textbook"}}
	if testing.Short() {
		s.pause = time.Second
	} else {
		options.Variants = map[string]string{nextFormatImage: fmt.Sprintf("sts-mutating-webhook/internal/rotator.recordFormat=%d", nextFormat)}
	}
	s.Suite = kit.Start(t, options)
	var err error
	s.requests, err = client.New(s.Cluster.RESTConfig(), client.Options{})
	kit.Must(t, err)
	s.ours, s.control = ours(s.Cluster, s.Client), textbook(s.Cluster, s.Client)
	s.Namespace(t, loadNamespace)
	kit.Must(t, s.removeLeftovers(s.Ctx))
	kit.Must(t, s.Uninstall(s.Ctx))
	s.Kubectl(t, "delete", "--ignore-not-found", "-f", s.textbookManifest())
	s.Kubectl(t, "apply", "-f", s.textbookManifest())
	s.manifests = t.TempDir()
	kit.Must(t, s.copyManifests(s.manifests, nil))
	kit.Must(t, s.apply(s.Ctx))
	s.logs = readLogs(s.Ctx, s.ours)
	for _, target := range []*target{s.ours, s.control} {
		target.seen, err = record(s.Ctx, target)
		kit.Must(t, err)
	}
	kit.Must(t, s.ours.settle(s.Ctx, time.Minute))
	t.Log("ours has settled")
	kit.Must(t, s.hastenControl(s.Ctx))
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

// removeLeftovers ends what a run that was killed in the middle of a scenario left.
func (s *suite) removeLeftovers(ctx context.Context) error {
	if err := s.Cluster.KillDaemon(ctx, cluster.SecondAPIServer); err != nil {
		return err
	}
	for _, node := range s.Cluster.Nodes() {
		_ = s.Cluster.Reconnect(ctx, node) // an error is that no pod is cut off
	}
	return s.removeSecond(ctx)
}
