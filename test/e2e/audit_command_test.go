package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const auditTable = `NAMESPACE   STATEFULSET   ORDINALS   FINDING          MESSAGE
e2e-abcde   drifted       0          NodeMismatch     it runs on node node-3, which carries disk=hdd, not ssd; label the node, or delete the pod
e2e-abcde   moving        0          MovesAtRestart   it is placed by name=node1, and will be by name=node2 when it is created again; updateStrategy is OnDelete, so it stays until somebody deletes it; if that is not meant, put the old rule back
e2e-abcde   moving        1          MovesAtRestart   it is placed by name=node2, and will be by name=node1 when it is created again; updateStrategy is OnDelete, so it stays until somebody deletes it; if that is not meant, put the old rule back
e2e-abcde   nowhere       1          NoMatchingNode   no node carries name=node9, so the pod will stay Pending; label a node, or correct the rule
e2e-abcde   unplaced      0          NoMatchingNode   no node carries all of kubernetes.io/hostname=node-3, name=node1, so the pod will stay Pending; label a node, or correct the rule
e2e-abcde   unplaced      0          NotPlaced        its spec lacks nodeSelector name=node1, as if the webhook had not been called when it was created (it runs on node node-3, which does not carry name=node1); see that MutatingWebhookConfiguration sts-mutating-webhook is there, then delete the pod
`

// testAuditCommand makes one StatefulSet for each finding, and a healthy one.
func (s *suite) testAuditCommand(t *testing.T) {
	namespace := s.namespace(t)
	s.apply(t, namespace, kit.StatefulSet("healthy", 2, kit.ByParity))
	s.create(t, namespace, kit.StatefulSet("nowhere", 2, withoutNode))
	s.makeMoving(t, namespace)
	s.makeDrifted(t, namespace)
	s.makeUnplaced(t, namespace)
	s.eventually(t, func() error { // what earlier tests left is gone, and both pods of nowhere are there
		all, err := s.Client.AppsV1().StatefulSets("").List(s.Ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, set := range all.Items {
			if set.Namespace != namespace || set.Status.Replicas != *set.Spec.Replicas || set.Status.ObservedGeneration != set.Generation {
				return fmt.Errorf("StatefulSet %s/%s is still changing", set.Namespace, set.Name)
			}
		}
		return nil
	})
	stdout, stderr, code := s.runPlugin(t, "audit", "-A")
	if diff := cmp.Diff(auditTable, strings.ReplaceAll(stdout, namespace, "e2e-abcde")); diff != "" {
		t.Errorf("stdout differs (-want +got):\n%s", diff)
	}
	if want := "8 pods of 5 StatefulSets: 6 findings\n"; code != 1 || !strings.HasSuffix(stderr, want) {
		t.Errorf("got exit code %d, stderr %q, want 1, %q", code, stderr, want)
	}
	stdout, stderr, code = s.runPlugin(t, "audit", "statefulset", "healthy", "-n", namespace, "-o", "json")
	if code != 0 || stdout != "[]\n" || stderr != "2 pods of 1 StatefulSet: no findings\n" {
		t.Errorf("of the healthy one: got exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// makeMoving swaps the nodes of a StatefulSet that does not restart its pods.
func (s *suite) makeMoving(t *testing.T, namespace string) {
	t.Helper()
	set := kit.StatefulSet("moving", 2, kit.ByParity)
	set.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	s.apply(t, namespace, set)
	kit.Must(t, s.changeRule(namespace, "moving", swapped))
}

// makeDrifted relabels the node of a running pod; another node takes over the label.
func (s *suite) makeDrifted(t *testing.T, namespace string) {
	t.Helper()
	s.Kubectl(t, "label", "node", "node-3", "disk=ssd")
	t.Cleanup(func() { s.Kubectl(t, "label", "node", "node-1", "node-3", "disk-") })
	s.apply(t, namespace, kit.StatefulSet("drifted", 1, `{"key": "disk", "values": ["ssd"]}`))
	s.Kubectl(t, "label", "node", "node-3", "disk=hdd", "--overwrite")
	s.Kubectl(t, "label", "node", "node-1", "disk=ssd")
}

// makeUnplaced creates a pod while the webhook configuration is gone. It runs on the node that is right for no ordinal.
func (s *suite) makeUnplaced(t *testing.T, namespace string) {
	t.Helper()
	s.Kubectl(t, "delete", "mutatingwebhookconfiguration", webhook.Configuration)
	placed := func(want bool) {
		s.eventually(t, func() error { // the apiserver has seen it
			pod, err := s.Client.CoreV1().Pods(namespace).Create(s.Ctx, kit.OwnedPod("probe", 0, kit.ByParity), dryRun)
			if got := err == nil && len(pod.Spec.NodeSelector) > 0; err == nil && got != want {
				err = fmt.Errorf("a pod is placed: got %v, want %v", got, want)
			}
			return err
		})
	}
	placed(false)
	set := kit.StatefulSet("unplaced", 1, kit.ByParity)
	set.Spec.Template.Spec.NodeSelector = map[string]string{"kubernetes.io/hostname": "node-3"}
	s.apply(t, namespace, set)
	kit.Must(t, s.within(func(ctx context.Context) error { _, err := s.Apply(ctx); return err }))
	placed(true)
}
