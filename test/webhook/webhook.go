// Package webhook installs the webhook of this checkout in a test cluster the way a user does, with kubectl and the files in
// manifests/, and looks at what then runs. The demo and the tests on a real cluster share it.
//
// Every wait ends when its context does; the error then holds the state of the replicas.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/cluster"
)

// Names that the manifests fix.
const (
	Namespace     = "custom-system"
	Deployment    = "sts-webhook"
	Secret        = "sts-webhook-certs"
	Configuration = "sts-mutating-webhook"
	// ValidatingConfiguration refuses StatefulSets whose pods would be refused.
	ValidatingConfiguration = "sts-validating-webhook"
	Label                   = "ab-build-different"
	// Gate is the scheduling gate, GateLabel the label that pods behind it have and keep.
	Gate       = "sts-webhook.custom-system.svc/placement"
	GateLabel  = "sts-webhook.custom-system.svc/gate"
	Annotation = "custom-node-selector"
)

// pollInterval bounds how late a wait notices, and so the error of the times that are measured with it.
const pollInterval = 50 * time.Millisecond

// Webhook is the webhook in one cluster, installed or not.
type Webhook struct {
	Cluster *cluster.Cluster
	Client  kubernetes.Interface
	// Image is what replicas run in place of the manifests' image; empty leaves that.
	Image string
	// root is the checkout.
	root string
}

// In returns the webhook in a cluster. The working directory must be inside the checkout; nothing is installed yet.
func In(c *cluster.Cluster) (*Webhook, error) {
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find checkout: %w", err)
	}
	for ; root != filepath.Dir(root); root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return &Webhook{Cluster: c, Client: client, root: root}, nil
		}
	}
	return nil, errors.New("find checkout: no go.mod above the working directory")
}

// Path is a file of the checkout, named from its root.
func (w *Webhook) Path(name string) string { return filepath.Join(w.root, name) }

// Apply runs kubectl apply -f manifests/ and returns kubectl's output.
func (w *Webhook) Apply(ctx context.Context) (string, error) {
	return w.ApplyImage(ctx, "manifests", cluster.WebhookImageName, w.Image)
}

// ApplyImage runs kubectl apply for a file or a directory of the checkout, with an image put in place of another; none leaves that.
func (w *Webhook) ApplyImage(ctx context.Context, path, old, image string, args ...string) (string, error) {
	from := w.Path(path)
	if image != "" {
		dir, err := os.MkdirTemp("", "sts-webhook-manifests")
		if err != nil {
			return "", fmt.Errorf("set image: %w", err)
		}
		defer os.RemoveAll(dir)
		if err := copyWithImage(from, dir, old, image); err != nil {
			return "", fmt.Errorf("set image: %w", err)
		}
		from = dir
	}
	return w.Cluster.Kubectl(ctx, append([]string{"apply", "-f", from}, args...)...)
}

func copyWithImage(from, dir, old, image string) error {
	if filepath.Ext(from) != ".yaml" {
		from = filepath.Join(from, "*.yaml")
	}
	files, err := filepath.Glob(from)
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		text = bytes.ReplaceAll(text, []byte("image: "+old), []byte("image: "+image))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Install applies the manifests and waits for the rollout. It returns the time from before the apply until every replica was Ready.
func (w *Webhook) Install(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	if _, err := w.Apply(ctx); err != nil {
		return 0, err
	}
	err := w.WaitRollout(ctx)
	return time.Since(begin), err
}

// Uninstall deletes what the manifests made and waits until it is gone. Nobody is served any more, so the replicas are not given
// the time to drain. Nothing installed is fine.
func (w *Webhook) Uninstall(ctx context.Context) error {
	steps := [][]string{
		{"delete", "mutatingwebhookconfiguration", Configuration, "--ignore-not-found"},
		{"delete", "validatingwebhookconfiguration", ValidatingConfiguration, "--ignore-not-found"},
		{"delete", "deployment", Deployment, "--namespace", Namespace, "--ignore-not-found", "--cascade=orphan"},
		{"delete", "replicasets", "--all", "--namespace", Namespace, "--cascade=orphan"},
		{"delete", "pods", "--all", "--namespace", Namespace, "--grace-period=1"},
		{"delete", "-f", w.Path("manifests"), "--ignore-not-found"},
	}
	for _, args := range steps {
		if _, err := w.Cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
	}
	return nil
}

// Configure gives the webhook these flags and no others, and waits for the rollout. Applying the manifests again does not undo it,
// Configure(ctx) does.
func (w *Webhook) Configure(ctx context.Context, flags ...string) error {
	args, err := json.Marshal(flags) // none is null, which removes the field
	if err != nil {
		return fmt.Errorf("encode flags: %w", err)
	}
	if err := w.patch(ctx, `{"spec":{"template":{"spec":{"containers":[{"name":%q,"args":%s}]}}}}`, Deployment, args); err != nil {
		return err
	}
	return w.WaitRollout(ctx)
}

// Restart replaces every replica, as kubectl rollout restart does, and waits for the rollout. It makes running pods of a newly
// loaded image.
func (w *Webhook) Restart(ctx context.Context) error {
	now := time.Now().Format(time.RFC3339Nano)
	if err := w.patch(ctx, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, now); err != nil {
		return err
	}
	return w.WaitRollout(ctx)
}

// Scale changes the number of replicas and waits for it. Replicas that end may still drain when it returns, unless there are to be
// none: then they are gone.
func (w *Webhook) Scale(ctx context.Context, replicas int) error {
	if err := w.patch(ctx, `{"spec":{"replicas":%d}}`, replicas); err != nil {
		return err
	}
	if replicas > 0 {
		return w.WaitRollout(ctx)
	}
	return w.WaitDrained(ctx)
}

// patch changes the Deployment by a strategic merge patch.
func (w *Webhook) patch(ctx context.Context, patch string, args ...any) error {
	data := fmt.Appendf(nil, patch, args...)
	_, err := w.Client.AppsV1().Deployments(Namespace).Patch(ctx, Deployment, types.StrategicMergePatchType, data, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch Deployment %s/%s: %w", Namespace, Deployment, err)
	}
	return nil
}

// WaitRollout returns when the newest Deployment is what runs: every replica is of its template and Ready. Older ones may drain.
func (w *Webhook) WaitRollout(ctx context.Context) error {
	return w.wait(ctx, "the rollout", func(ctx context.Context) bool {
		d, err := w.Client.AppsV1().Deployments(Namespace).Get(ctx, Deployment, metav1.GetOptions{})
		return err == nil && rolledOut(d)
	})
}

// WaitDrained returns when no replica is still ending.
func (w *Webhook) WaitDrained(ctx context.Context) error {
	return w.wait(ctx, "the end of old replicas", func(ctx context.Context) bool {
		d, err := w.Client.AppsV1().Deployments(Namespace).Get(ctx, Deployment, metav1.GetOptions{})
		if err != nil || !rolledOut(d) {
			return false
		}
		pods, err := w.pods(ctx)
		return err == nil && len(pods) == int(d.Status.Replicas)
	})
}

// rolledOut is what kubectl rollout status waits for.
func rolledOut(d *appsv1.Deployment) bool {
	want, s := *d.Spec.Replicas, d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
}

// Replicas are the pods that serve: neither ended nor about to end.
func (w *Webhook) Replicas(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := w.pods(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil }), nil
}

func (w *Webhook) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := w.Client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + Deployment})
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	return list.Items, nil
}

// wait polls until done returns true. It fails when ctx ends, and then shows the replicas.
func (w *Webhook) wait(ctx context.Context, what string, done func(context.Context) bool) error {
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) { return done(ctx), nil })
	if err == nil {
		return nil
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// What cannot be shown must not hide the cause.
	state, _ := w.Cluster.Kubectl(look, "describe", "pods", "--namespace", Namespace)
	logs, _ := w.Cluster.Kubectl(look, "logs", "--namespace", Namespace, "--selector=app="+Deployment, "--prefix", "--tail=20")
	return fmt.Errorf("wait for %s: %w\n%s\n%s", what, err, state, logs)
}
