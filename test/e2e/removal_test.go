package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// testRemoval removes the webhook while pods are created, those that opted in and others: by the command that README.md names, and
// as that command does it over a slow connection, one file after the other. Each file then has its time to do harm.
func (s *suite) testRemoval(t *testing.T) {
	s.Kubectl(t, "delete", "--ignore-not-found", "-f", s.Path(volumesManifest)) // an earlier chapter applied it
	namespace := s.namespace(t)
	for name, remove := range map[string]func(*testing.T){
		"at once": func(t *testing.T) { s.Kubectl(t, "delete", "-f", s.Path("manifests")) },
		"slowly":  s.removeSlowly,
	} {
		t.Run(name, func(t *testing.T) {
			kit.Must(t, s.within(func(ctx context.Context) error { _, err := s.Install(ctx); return err }))
			optedIn, others := s.startCreations(t, namespace, load.OptIn, 500), s.startCreations(t, namespace, "not-opted-in", 500)
			s.Pause(time.Second)
			begin := time.Now()
			remove(t)
			t.Logf("removed after %.1f s", time.Since(begin).Seconds())
			s.expectNotBlocked(t, "opted in", optedIn.Stop(), begin)
			s.expectNotBlocked(t, "others", others.Stop(), begin)
			if left := s.leftovers(t); left != "" {
				t.Errorf("objects of the webhook after its removal: got\n%s\nwant none", left)
			}
		})
	}
}

// removeSlowly deletes the files in kubectl's order, and gives the apiserver and the replicas a second after each.
func (s *suite) removeSlowly(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(s.Path("manifests/*.yaml")) // sorted
	kit.Must(t, err)
	for _, file := range files {
		s.Kubectl(t, "delete", "--wait=false", "--ignore-not-found", "-f", file)
		s.Pause(time.Second)
	}
	s.Kubectl(t, "delete", "-f", s.Path("manifests"), "--ignore-not-found") // waits for the end
}

// startCreations begins 50 dry runs a second: those pass through the whole admission chain and leave nothing behind. The pods are
// as large as real ones and not as restricted as some clusters want them.
func (s *suite) startCreations(t *testing.T, namespace, label string, atOnce int) *load.Run {
	t.Helper()
	s.Kubectl(t, "label", "--overwrite", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged")
	run, err := load.Start(s.Ctx, load.Options{
		Target: load.Target{Config: s.Cluster.RESTConfig(), Namespace: namespace, OptIn: label}, Concurrency: atOnce,
	})
	kit.Must(t, err)
	return run
}

// timeout is the cause of a call that took too long. On a busy machine that has other reasons; a Service or a replica that is gone
// has other causes, too.
const timeout = "context deadline exceeded"

// expectNotBlocked allows for pods that are created as if there were no webhook: none is left. What the apiserver itself could not
// answer is not the webhook's.
func (s *suite) expectNotBlocked(t *testing.T, which string, report load.Report, begin time.Time) {
	t.Helper()
	t.Logf("%s: %s", which, report)
	blocked := map[string]int{}
	for _, sample := range report.Samples {
		if (sample.Outcome == load.Refused || sample.Outcome == load.Denied) && sample.Cause != timeout {
			blocked[sample.Cause]++
		}
	}
	if len(blocked) > 0 {
		t.Errorf("%s: got blocked creations %v, the last %v after the removal began, want none", which, blocked, report.LastLost(load.Refused, load.Denied).Sub(begin))
	}
	if before, after := len(report.Until(begin).Samples), len(report.Since(begin).Samples); before < 20 || after < 50 {
		t.Errorf("%s: got %d creations before the removal and %d since, want 20 and 50", which, before, after)
	}
}

// leftovers are the objects of all kinds that have the webhook's label or a name of its, and are in no namespace of the test.
func (s *suite) leftovers(t *testing.T) string {
	t.Helper()
	kinds := strings.Fields(s.Kubectl(t, "api-resources", "--verbs=list", "--output=name"))
	objects := s.Kubectl(t, "get", strings.Join(kinds, ","), "--all-namespaces", "--ignore-not-found", "--show-labels", "--no-headers",
		"--output=wide")
	var ours []string
	for _, line := range strings.Split(objects, "\n") {
		// Events expire by themselves, and the ReplicaSets' pods are deleted with their namespace.
		if (strings.Contains(line, "sts-webhook") || strings.Contains(line, "custom-system")) && !strings.Contains(line, "event") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "\n")
}
