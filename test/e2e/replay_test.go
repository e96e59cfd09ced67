package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

var record = flag.Bool("record", false, "write lines of the apiserver's audit log into internal/replay/testdata")

// decisions returns the events of the audit log with decisions of the webhook about pods that are in the log.
func (s *suite) decisions(t *testing.T) []auditEvent {
	t.Helper()
	return slices.DeleteFunc(s.auditLog(t), func(e auditEvent) bool {
		called := false
		for key, value := range e.Annotations {
			called = called || strings.HasPrefix(key, "mutation.webhook.admission.k8s.io/") && strings.Contains(value, serviceName)
		}
		return !called || e.Verb != "create" || e.ObjectRef.Resource != "pods" || e.RequestObject == nil ||
			strings.Contains(e.ResponseStatus.Message, "failed calling webhook")
	})
}

// testReplay replays the audit log of the chapters before, and one in which a patch was changed.
func (s *suite) testReplay(t *testing.T) {
	s.createAsController(t)
	events := s.decisions(t)
	if len(events) < 20 {
		t.Fatalf("the audit log holds %d decisions with their pods, want more", len(events))
	}
	if *record {
		s.record(t, events)
	}
	log := s.Cluster.LogPath(cluster.Audit)
	stdout, stderr, code := s.runPlugin(t, "replay", log)
	if want := fmt.Sprintf("0 of %d decisions change\n", len(events)); code != 0 || stdout != "" || !strings.Contains(stderr, want) {
		t.Errorf("got exit code %d, stdout %q, stderr %q, want 0 and %q", code, stdout, stderr, want)
	}
	// Only the pods of namespaces that are being deleted, which the apiserver refuses by itself.
	if strings.Contains(stderr, "opted-in pods for which the webhook was not called") {
		t.Errorf("stderr %q, want no opted-in pod that got by", stderr)
	}
	t.Run("a decision that differs is named", func(t *testing.T) {
		n, altered := alter(t, events)
		stdout, stderr, code := s.runPlugin(t, "replay", "-o", "json", altered)
		type place struct{ NodeSelector map[string]string }
		type change struct {
			Namespace, Pod, AuditID string
			From, To                place
		}
		var changes []change
		kit.Must(t, json.Unmarshal([]byte(stdout), &changes))
		e := events[n]
		node9, node1 := place{map[string]string{"name": "node9"}}, place{map[string]string{"name": "node1"}}
		want := []change{{e.ObjectRef.Namespace, e.ObjectRef.Name, e.AuditID, node9, node1}}
		if diff := cmp.Diff(want, changes); diff != "" || code != 1 {
			t.Errorf("got exit code %d, stderr %q; changes differ (-want +got):\n%s", code, stderr, diff)
		}
	})
	t.Run("other flags decide otherwise", func(t *testing.T) {
		stdout, stderr, code := s.runPlugin(t, "replay", "--existing-selector=replace", log)
		if n := strings.Count(stdout, "keeps-others-"); code != 1 || n != 6 || !strings.Contains(stdout, "kubernetes.io/os=linux,name=node1   name=node1") {
			t.Errorf("got exit code %d, %d pods that had a node selector, want 1, 6; stderr %q", code, n, stderr)
		}
	})
}

// createAsController creates pods that no StatefulSet does: dry runs, one without a name, one with a mistake.
func (s *suite) createAsController(t *testing.T) {
	t.Helper()
	pods := s.asController(t).CoreV1().Pods(s.namespace(t))
	_, err := pods.Create(s.Ctx, kit.OwnedPod("dry", 0, kit.ByParity), dryRun)
	kit.Must(t, err)
	unnamed := kit.OwnedPod("dry", 0, kit.ByParity)
	unnamed.Name, unnamed.GenerateName = "", "dry-"
	for _, pod := range []*corev1.Pod{unnamed, kit.OwnedPod("dry", 1, misspelt)} {
		if _, err := pods.Create(s.Ctx, pod, dryRun); !apierrors.IsInvalid(err) {
			t.Errorf("dry run: got %v, want a denial", err)
		}
	}
	plain := kit.OwnedPod("plain", 0, kit.ByParity)
	delete(plain.Labels, webhook.Label)
	_, err = pods.Create(s.Ctx, plain, dryRun)
	kit.Must(t, err)
}

// alter writes the lines with one patch changed from node1 to node9, and returns which event that is.
func alter(t *testing.T, events []auditEvent) (n int, file string) {
	t.Helper()
	const node1, node9 = `\"value\":{\"name\":\"node1\"}`, `\"value\":{\"name\":\"node9\"}`
	n = slices.IndexFunc(events, func(e auditEvent) bool { return bytes.Contains(e.line, []byte(node1)) })
	if n < 0 {
		t.Fatalf("no line holds %s", node1)
	}
	var lines []byte
	for i, e := range events {
		if i == n {
			e.line = bytes.ReplaceAll(e.line, []byte(node1), []byte(node9))
		}
		lines = append(lines, e.line...)
	}
	file = filepath.Join(t.TempDir(), "altered.log")
	kit.Must(t, os.WriteFile(file, lines, 0o644))
	return n, file
}

// record keeps a line for each kind of decision.
func (s *suite) record(t *testing.T, events []auditEvent) {
	t.Helper()
	var kept []byte
	seen := map[string]bool{}
	for _, e := range events {
		kind := e.Annotations[serviceName+"/denied"] + " " + strings.TrimRight(e.ObjectRef.Name, "0123456789")
		if !seen[kind] {
			kept = append(kept, e.line...)
		}
		seen[kind] = true
	}
	kit.Must(t, os.WriteFile(s.Path("internal/replay/testdata/audit.log"), kept, 0o644))
}
