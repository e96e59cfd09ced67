package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
)

// secondNamespace holds a second installation of ours.
const secondNamespace = "second-system"

// writeSecond writes the manifests with the namespace changed, as somebody would who
// moves to another one, and returns their directory. The second binding of the ClusterRole
// has a name of its own: otherwise ours would lose its rights, and could not fight if it wanted to.
func (a *attempt) writeSecond() string {
	const binding = "kind: ClusterRoleBinding\nmetadata:\n  name: sts-webhook"
	edit := strings.NewReplacer(a.namespace, secondNamespace, binding+"\n", binding+"-second\n",
		fmt.Sprintf("replicas: %d\n", replicas), "replicas: 1\n")
	files, err := filepath.Glob(filepath.Join(a.manifests, "*.yaml"))
	a.must(err)
	dir, err := os.MkdirTemp(a.manifests, "second") // that of the test may hold a comma, at which kubectl splits its argument
	a.must(err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		a.must(err)
		a.must(os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(edit.Replace(string(content))), 0o644))
	}
	return dir
}

// applySecond applies these manifests and returns the second installation, which has one replica, when it has settled.
func (a *attempt) applySecond(dir string) *attempt {
	a.hit = time.Now()
	a.Kubectl(a.t, "apply", "-f", dir)
	second := *a.target
	second.name, second.namespace, second.replicas, second.seen = "the second installation", secondNamespace, 1, nil
	a.must(second.settle(settleTimeout))
	return &attempt{target: &second, t: a.t}
}

// removeSecond removes the second installation and its entry.
func (a *attempt) removeSecond() {
	a.Kubectl(a.t, "delete", "clusterrolebinding", "sts-webhook-second", "--ignore-not-found")
	a.Kubectl(a.t, "delete", "namespace", secondNamespace, "--ignore-not-found")
	configurations := a.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := configurations.Get(a.Ctx, a.configuration, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	a.must(err)
	n := len(config.Webhooks)
	config.Webhooks = slices.DeleteFunc(config.Webhooks, func(w admissionv1.MutatingWebhook) bool {
		return w.ClientConfig.Service != nil && w.ClientConfig.Service.Namespace == secondNamespace
	})
	if len(config.Webhooks) < n {
		_, err = configurations.Update(a.Ctx, config, metav1.UpdateOptions{})
		a.must(err)
	}
}

// removeSecondAndApply gives the configuration back to ours.
func removeSecondAndApply(a *attempt) {
	defer a.apply() // also if something cannot be removed
	a.removeSecond()
}

// secondEntry installs the webhook a second time, with an entry of its own beside ours
// in the same configuration, for other pods. Both rotate, each its own entry.
func secondEntry(a *attempt) {
	dir := a.writeSecond()
	file := filepath.Join(dir, "05-webhook.yaml")
	content, err := os.ReadFile(file)
	a.must(err)
	a.must(os.Remove(file))
	a.must(os.Remove(filepath.Join(dir, "06-validating-webhook.yaml"))) // it has one entry, which would be taken over
	// The load is for ours alone.
	content = bytes.ReplaceAll(content, []byte(`ab-build-different: "true"`), []byte(`second: "true"`))
	// Server-side apply by another manager adds an entry and leaves ours.
	configurations := a.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err = configurations.Patch(a.Ctx, a.configuration, types.ApplyPatchType, content, metav1.PatchOptions{FieldManager: "second"})
	a.must(err)
	a.writes.Add(1)
	second := a.applySecond(dir)
	var request errgroup.Group
	request.Go(func() error { return second.request(false, requestTimeout) })
	defer func() { _ = request.Wait() }() // also if the rotation fails: what follows is not to be disturbed
	a.rotate()
	a.must(request.Wait())
	a.must(second.settle(settleTimeout))
}

// quietFor is how long two installations are watched for a fight.
const quietFor = 10 * time.Second

// notCalled is how a replica says that no entry calls it.
const notCalled = "the apiserver does not call this replica"

// movedAway applies the manifests with another namespace: the only entry of the
// configuration then calls the second installation, and ours has to leave it alone.
// Ours still rotates its Secret. Then the entry is given back.
func movedAway(a *attempt) {
	a.applySecond(a.writeSecond())
	installed := time.Now()
	a.expect(a.hit, installed.Add(refusedLimit))
	refused := a.loads[0].Report().LastLost().Sub(a.hit)
	a.remark("the new entry called replicas that had not started, and creations were refused, for %.1f s", refused.Seconds())
	a.Pause(quietFor)
	if versions := a.seen.since(installed, configKind); len(versions) > 0 {
		a.t.Fatalf("writes of the configuration in %s after both installations had settled: got %d, want none: %s",
			quietFor, len(versions), versions[0])
	}
	a.rotate()
	// Replicas which nobody calls stay as they are, and say so.
	ready := slices.DeleteFunc(a.pods(), func(pod corev1.Pod) bool { return !kit.Ready(pod) })
	if len(ready) != replicas {
		a.t.Fatalf("replicas while no entry calls them: %d ready, want %d", len(ready), replicas)
	}
	if lines := a.logs.with(a.begin, notCalled); len(lines) != replicas {
		a.t.Fatalf("the line %q: got it %d times, want it once from each of %d replicas", notCalled, len(lines), replicas)
	}
	a.takeBack()
}

// takeBack applies the manifests again, and waits until ours has written the caBundle
// of the entry, which comes without one.
func (a *attempt) takeBack() {
	begin := time.Now()
	a.apply()
	a.writes.Add(2) // the entry, there and back
	empty := a.await(begin, settleTimeout/2, configKind, "our entry", func(v version) bool { return !v.none })
	trusted := func(v version) bool { return v.trusts(a.seen.newest(secretKind).keyring.cas) }
	filled := a.await(empty.at, settleTimeout/2, configKind, "our caBundle", trusted)
	a.measure("the entry had its caBundle", filled.at.Sub(empty.at), bundleLimit)
	a.expect(begin, empty.at.Add(refusedLimit))
}
