package chaos

import (
	"bytes"
	"context"
	"errors"
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

const (
	webhookManifest = "05-webhook.yaml"
	// checksManifest holds one entry as well, and a second installation beside ours would take it over.
	checksManifest = "06-validating-webhook.yaml"
)

// secondInstallation is ours in another namespace, with one replica.
func (s *suite) secondInstallation() *target {
	second := ours(s.Cluster, s.Client)
	second.name, second.namespace, second.replicas = "the second installation", secondNamespace, 1
	return second
}

// writeSecond writes the manifests with the namespace changed, as somebody would who
// moves to another one. The second binding of the ClusterRole has a name of its own:
// otherwise ours would lose its rights, and could not fight if it wanted to.
func (s *suite) writeSecond(dir string) error {
	return s.copyManifests(dir, func(file, content string) string {
		content = strings.ReplaceAll(content, s.ours.namespace, secondNamespace)
		switch file {
		case "10-rbac.yaml":
			head, tail, _ := strings.Cut(content, "kind: ClusterRoleBinding\nmetadata:\n  name: sts-webhook\n")
			return head + "kind: ClusterRoleBinding\nmetadata:\n  name: sts-webhook-second\n" + tail
		case "40-deployment.yaml":
			return strings.Replace(content, fmt.Sprintf("replicas: %d\n", replicas), "replicas: 1\n", 1)
		}
		return content
	})
}

// removeSecond removes the second installation and its entry.
func (s *suite) removeSecond(ctx context.Context) error {
	for _, args := range [][]string{
		{"delete", "clusterrolebinding", "sts-webhook-second", "--ignore-not-found"},
		{"delete", "namespace", secondNamespace, "--ignore-not-found"},
	} {
		if _, err := s.Cluster.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	configurations := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := configurations.Get(ctx, s.ours.configuration, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	n := len(config.Webhooks)
	config.Webhooks = slices.DeleteFunc(config.Webhooks, func(w admissionv1.MutatingWebhook) bool {
		return w.ClientConfig.Service != nil && w.ClientConfig.Service.Namespace == secondNamespace
	})
	if len(config.Webhooks) == n {
		return nil
	}
	_, err = configurations.Update(ctx, config, metav1.UpdateOptions{})
	return err
}

// removeSecondAndApply gives the configuration back to ours.
func removeSecondAndApply(ctx context.Context, s *suite) error {
	return errors.Join(s.removeSecond(ctx), s.apply(ctx))
}

// secondEntry installs the webhook a second time, with an entry of its own beside ours
// in the same configuration, for other pods. Both rotate, each its own entry.
func secondEntry(ctx context.Context, a *attempt) error {
	dir, err := os.MkdirTemp("", "second")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := a.suite.writeSecond(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, webhookManifest)
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// The load is for ours alone.
	content = bytes.ReplaceAll(content, []byte(`ab-build-different: "true"`), []byte(`second: "true"`))
	if err := errors.Join(os.Remove(file), os.Remove(filepath.Join(dir, checksManifest))); err != nil {
		return err
	}
	a.hit = time.Now()
	if _, err := a.suite.Cluster.Kubectl(ctx, "apply", "-f", dir); err != nil {
		return err
	}
	// Server-side apply by another manager adds an entry and leaves ours.
	configurations := a.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	if _, err := configurations.Patch(ctx, a.configuration, types.ApplyPatchType, content, metav1.PatchOptions{FieldManager: "second"}); err != nil {
		return fmt.Errorf("add entry: %w", err)
	}
	a.writes.Add(1)
	second := &attempt{target: a.suite.secondInstallation(), suite: a.suite}
	if err := second.settle(ctx, settleTimeout); err != nil {
		return err
	}
	var both errgroup.Group
	both.Go(func() error { return a.rotate(ctx) })
	both.Go(func() error { return second.request(ctx, false) })
	if err := both.Wait(); err != nil {
		return err
	}
	return second.settle(ctx, settleTimeout)
}

// quietFor is how long two installations are watched for a fight.
const quietFor = 10 * time.Second

// movedAway applies the manifests with another namespace: the only entry of the
// configuration then calls the second installation, and ours has to leave it alone.
// Ours still rotates its Secret. Then the entry is given back.
func movedAway(ctx context.Context, a *attempt) error {
	dir, err := os.MkdirTemp("", "second")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := a.suite.writeSecond(dir); err != nil {
		return err
	}
	a.hit = time.Now()
	moved := a.hit
	if _, err := a.suite.Cluster.Kubectl(ctx, "apply", "-f", dir); err != nil {
		return err
	}
	second := a.suite.secondInstallation()
	if err := second.settle(ctx, settleTimeout); err != nil {
		return err
	}
	installed := time.Now()
	a.expect(moved, installed.Add(refusedLimit))
	a.remark("the new entry called replicas that had not started, and creations were refused, for %.1f s", a.loads[0].Report().LastLost().Sub(moved).Seconds())
	if err := a.quiet(ctx, installed); err != nil {
		return err
	}
	if err := a.rotate(ctx); err != nil {
		return fmt.Errorf("rotate without an entry: %w", err)
	}
	if err := a.stillReady(ctx); err != nil {
		return err
	}
	return a.takeBack(ctx)
}

// quiet checks that nobody writes the configuration for a while.
func (a *attempt) quiet(ctx context.Context, since time.Time) error {
	if err := kit.Sleep(ctx, quietFor); err != nil {
		return err
	}
	if versions, _ := a.seen.after(since, configKind); len(versions) > 0 {
		return fmt.Errorf("the configuration was written %d times in %s although both installations had settled: %s", len(versions), quietFor, versions[0])
	}
	return nil
}

// notCalled is how a replica says that no entry calls it.
const notCalled = "the apiserver does not call this replica"

// stillReady checks that replicas which nobody calls stay as they are, and say so.
func (a *attempt) stillReady(ctx context.Context) error {
	pods, err := a.pods(ctx)
	if err != nil {
		return err
	}
	ready := slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return !kit.Ready(pod) })
	if len(ready) != replicas {
		return fmt.Errorf("count replicas while no entry calls them: %d ready, want %d", len(ready), replicas)
	}
	if lines := a.suite.logs.with(a.begin, notCalled); len(lines) != replicas {
		return fmt.Errorf("check the line %q: got it %d times, want it once from each of %d replicas", notCalled, len(lines), replicas)
	}
	return nil
}

// takeBack applies the manifests again, and waits until ours has written the caBundle
// of the entry, which comes without one.
func (a *attempt) takeBack(ctx context.Context) error {
	begin := time.Now()
	if err := a.suite.apply(ctx); err != nil {
		return err
	}
	a.writes.Add(2) // the entry, there and back
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	empty, err := a.seen.await(ctx, begin, configKind, "our entry", func(v version) bool { return !v.none })
	if err != nil {
		return err
	}
	filled, err := a.seen.await(ctx, empty.at, configKind, "our caBundle", func(v version) bool { return v.trusts(a.seen.newest(secretKind).keyring.cas) })
	if err != nil {
		return err
	}
	a.measure("the entry had its caBundle", filled.at.Sub(empty.at), bundleLimit)
	a.expect(begin, empty.at.Add(refusedLimit))
	return nil
}
