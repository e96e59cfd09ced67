// Package e2e tests the webhook as it is delivered, the image and manifests/, on a
// real cluster. It knows nothing of the code inside.
//
// The tests are one story on one cluster: TestEndToEnd installs the webhook, looks
// at it, uses it, changes it, takes it away and installs it again. They need root
// and TEST_CLUSTER=1 (make test-cluster) and take a cluster of their own, which is
// removed at the end whatever happens.
package e2e

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// storyTime bounds the whole story; it takes four to six minutes on two cores.
const storyTime = 12 * time.Minute

// suite is what the chapters of the story share.
type suite struct {
	*webhook.Webhook
	ctx context.Context
	// nodeOf says which node has which value of the label "name".
	nodeOf map[string]string
}

func TestEndToEnd(t *testing.T) {
	s := setUp(t)
	passed := true // all chapters, none left out by -run
	for _, chapter := range []struct {
		name string
		tell func(*suite, *testing.T)
		// needed means that nothing after it makes sense without it.
		needed bool
		// anywhere means that it needs no more than a kubeconfig: no access to the nodes, their names or the apiserver's files.
		anywhere bool
	}{
		{"check says that the empty cluster is fit for it", (*suite).testCheckBefore, false, false},
		{"one apply installs it on an empty cluster", (*suite).testInstall, true, true},
		{"both replicas are Ready, on different nodes, with a certificate that the caBundle verifies", (*suite).testReplicas, false, false},
		{"check says that everything is ok", (*suite).testCheck, false, false},
		{"the Secret and the caBundle hold what they should and nothing else", (*suite).testSecret, false, true},
		{"applying the manifests again changes nothing", (*suite).testReapply, false, true},
		{"the container is as hardened as its manifest says", (*suite).testHardening, false, false},
		{"the service account can do no more than its work", (*suite).testPermissions, false, false},
		{"six pods land on the nodes of their ordinals", (*suite).testPlacement, false, true},
		{"a pod keeps the node selector it has", (*suite).testMerge, false, true},
		{"each form of rule places pods that run", (*suite).testForms, false, false},
		{"a mistake is explained in the StatefulSet's event", (*suite).testDenial, false, true},
		{"a StatefulSet's events tell that its pods are placed, and why they are refused", (*suite).testEvents, false, false},
		{"a StatefulSet is checked when it is applied", (*suite).testStatefulSets, false, false},
		{"a labelled pod without a StatefulSet is refused with its field", (*suite).testOrphan, false, true},
		{"pods that did not opt in are neither changed nor sent to us", (*suite).testUnlabelled, false, true},
		{"a rollout of the webhook refuses no pod", (*suite).testRollout, false, true},
		{"the audit log tells how pods were placed", (*suite).testAudit, false, false},
		{"it works as a kubectl plugin", (*suite).testPlugin, false, false},
		{"this version decides about the pods of the audit log as they were decided about", (*suite).testReplay, false, false},
		{"nothing so far was logged as an error", (*suite).expectQuietLogs, false, false},
		{"audit finds what is out of place", (*suite).testAuditCommand, false, false},
		{"with other flags", (*suite).testFlags, false, false},
		{"kube-system and our own namespace are never blocked", (*suite).testNeverBlocked, false, false},
		{"check names each problem, and waits for the end of them", (*suite).testCheckProblems, false, false},
		{"kubectl delete -f manifests/ blocks no pod and leaves nothing", (*suite).testRemoval, false, true},
		{"it installs again and again without an error in the log", (*suite).testReinstall, false, false},
		{"it starts without its Secret", (*suite).testMissingSecret, false, false},
		{"the apiserver never forbade it anything", (*suite).testForbidden, false, false},
	} {
		ran := false
		ok := t.Run(chapter.name, func(t *testing.T) {
			if s.Cluster.IsExisting() && !chapter.anywhere {
				t.Skip("NOT RUN: it needs a cluster that the test brought up")
			}
			ran = true
			chapter.tell(s, t)
		})
		if !ok && chapter.needed {
			t.FailNow()
		}
		passed = passed && ok && ran
	}
	if file := os.Getenv("COMPAT_TABLE"); file != "" && passed {
		s.recordVersion(t, file)
	}
}

// setUp brings up an empty cluster with the image on every node and two of the
// three nodes labelled: on the third, no pod is right.
func setUp(t *testing.T) *suite {
	t.Helper()
	if file := os.Getenv("TEST_KUBECONFIG"); file != "" {
		return setUpExisting(t, file)
	}
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-cluster) and be root")
	}
	if os.Geteuid() != 0 {
		t.Fatal("TEST_CLUSTER is set, but bringing up a real cluster needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), storyTime)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx}
	begin := time.Now()
	c := bringUp(ctx, t)
	t.Logf("cluster %s up with the image on every node in %.1f s", c.Name(), time.Since(begin).Seconds())
	var err error
	if s.Webhook, err = webhook.In(c); err != nil {
		t.Fatal(err)
	}
	s.nodeOf = map[string]string{"node1": "node-1", "node2": "node-2"}
	for value, node := range s.nodeOf {
		s.kubectl(t, "label", "node", node, "name="+value)
	}
	return s
}

// bringUp returns a new cluster, built while the image is.
func bringUp(ctx context.Context, t *testing.T) *cluster.Cluster {
	t.Helper()
	name, err := cluster.ResolveName("")
	if err != nil {
		t.Fatal(err)
	}
	name += "-test" // not the one that make demo leaves
	if err := cluster.Down(ctx, name); err != nil {
		t.Fatal(err)
	}
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
	work.Go(func() error { return cluster.BuildWebhookImage(workCtx, archive) })
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadImage(ctx, archive); err != nil {
		t.Fatal(err)
	}
	return c
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
