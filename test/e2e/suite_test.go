// Package e2e tests the webhook as it is delivered, the image and manifests/, on a real cluster. It knows nothing of the code inside.
//
// The chapters of TestEndToEnd run in their order on one cluster: they install the webhook, look at it, use it, change it, take it away
// and install it again. They need root and TEST_CLUSTER=1 (make test-cluster) and bring up a cluster of their own, which is removed
// at the end whatever happens.
package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// suite is what the chapters share.
type suite struct {
	*kit.Suite
	// nodeOf says which node has which value of the label "name".
	nodeOf map[string]string
	// plugin is the directory of the program as a kubectl plugin.
	plugin string
}

func TestEndToEnd(t *testing.T) {
	s := setUp(t)
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "check says that the empty cluster is fit for it", Run: (*suite).testCheckBefore},
		{Name: "one apply installs it on an empty cluster", Run: (*suite).testInstall, Needed: true, Anywhere: true},
		{Name: "both replicas are Ready, on different nodes, with a certificate that the caBundle verifies", Run: (*suite).testReplicas},
		{Name: "check says that everything is ok", Run: (*suite).testCheck},
		{Name: "the Secret and the caBundle hold what they should and nothing else", Run: (*suite).testSecret, Anywhere: true},
		{Name: "applying the manifests again changes nothing", Run: (*suite).testReapply, Anywhere: true},
		{Name: "the container is as hardened as its manifest says", Run: (*suite).testHardening},
		{Name: "the service account can do no more than its work", Run: (*suite).testPermissions},
		{Name: "six pods land on the nodes of their ordinals", Run: (*suite).testPlacement, Anywhere: true},
		{Name: "a pod keeps the node selector it has", Run: (*suite).testMerge, Anywhere: true},
		{Name: "each form of rule places pods that run", Run: (*suite).testForms},
		{Name: "a mistake is explained in the StatefulSet's event", Run: (*suite).testDenial, Anywhere: true},
		{Name: "a StatefulSet's events say that its pods are placed, and why they are refused", Run: (*suite).testEvents},
		{Name: "a StatefulSet is checked when it is applied", Run: (*suite).testStatefulSets},
		{Name: "a labelled pod without a StatefulSet is refused with its field", Run: (*suite).testOrphan, Anywhere: true},
		{Name: "pods that did not opt in are neither changed nor sent to us", Run: (*suite).testUnlabelled, Anywhere: true},
		{Name: "a rollout of the webhook refuses no pod", Run: (*suite).testRollout, Anywhere: true},
		{Name: "the audit log says how pods were placed", Run: (*suite).testAudit},
		{Name: "it works as a kubectl plugin", Run: (*suite).testPlugin},
		{Name: "this version decides about the pods of the audit log as they were decided about", Run: (*suite).testReplay},
		{Name: "nothing so far was logged as an error", Run: (*suite).expectQuietLogs},
		{Name: "audit finds what is out of place", Run: (*suite).testAuditCommand},
		{Name: "with other flags", Run: (*suite).testFlags},
		{Name: "kube-system and our own namespace are never blocked", Run: (*suite).testNeverBlocked},
		{Name: "check names each problem, and waits for the end of them", Run: (*suite).testCheckProblems},
		{Name: "it installs again and again without an error in the log", Run: (*suite).testReinstall},
		{Name: "it starts without its Secret", Run: (*suite).testMissingSecret},
		{Name: "the apiserver never forbade it anything", Run: (*suite).testForbidden},
		{Name: "kubectl delete -f manifests/ blocks no pod and leaves nothing", Run: (*suite).testRemoval, Anywhere: true}, // the last one: replicas that drain have lost their rights
	})
	if file := kit.Document(t); file != "" {
		s.recordVersion(t, file)
	}
}

// setUp brings up an empty cluster with two labelled nodes of three, or uses that of TEST_KUBECONFIG.
func setUp(t *testing.T) *suite {
	const timeLimit = 12 * time.Minute
	s := &suite{plugin: t.TempDir()}
	if file := os.Getenv("TEST_KUBECONFIG"); file != "" {
		s.Suite = kit.StartExisting(t, file, timeLimit)
	} else {
		s.Suite = kit.Start(t, kit.Options{Name: "test", Timeout: timeLimit, Fresh: true, Meanwhile: func(ctx context.Context) error {
			return cluster.Compile(ctx, ".", filepath.Join(s.plugin, pluginName))
		}})
	}
	s.nodeOf = s.LabelNodes(t)
	return s
}
