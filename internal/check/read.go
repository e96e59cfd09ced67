package check

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/rotator"
)

// pageSize is that of kubectl's own lists.
const pageSize = 500

// Options say what to read.
type Options struct {
	// Program is the version of this program.
	Program string
	// Namespace is that of the dry runs.
	Namespace string
	// ParseFlags reads the arguments of the container. It returns the defaults beside an error.
	ParseFlags func(args []string) (Flags, error)
	// Now is the time; nil means time.Now.
	Now func() time.Time
}

// Snapshot reads an installation. It never fails: what could not be read is in the answers.
func (c *Cluster) Snapshot(ctx context.Context, o Options) *Snapshot {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Snapshot{Now: o.Now(), Program: o.Program, Namespace: o.Namespace}
	var wg sync.WaitGroup
	wg.Go(func() {
		c.readDeployment(ctx, s, o)
		s.AlertURL.Value, s.AlertURL.Err = call(ctx, c.timeouts.call, c.hasValue(s.AlertKey))
	})
	wg.Go(func() {
		s.Pods.Value, s.Pods.Err = call(ctx, c.timeouts.call, c.replicas)
		s.Versions.Value, s.Versions.Err = call(ctx, c.timeouts.call, func(ctx context.Context) ([]string, error) { return c.versions(ctx, s.Pods.Value) })
	})
	start(ctx, &wg, c.timeouts.dryRun, &s.Pod, dryRun(c, dryPod(o.Namespace)))
	start(ctx, &wg, c.timeouts.dryRun, &s.StatefulSet, func(ctx context.Context) (struct{}, error) {
		_, err := dryRun(c, dryMistake(o.Namespace))(ctx)
		return struct{}{}, err
	})
	start(ctx, &wg, c.timeouts.call, &s.Secret, c.certificates)
	start(ctx, &wg, c.timeouts.call, &s.Mutating, get(c, "", rotator.ConfigurationName, &admissionv1.MutatingWebhookConfiguration{}))
	start(ctx, &wg, c.timeouts.call, &s.Validating, get(c, "", rotator.ValidatingConfigurationName, &admissionv1.ValidatingWebhookConfiguration{}))
	start(ctx, &wg, c.timeouts.call, &s.Denied, c.deniedToWebhook)
	start(ctx, &wg, c.timeouts.call, &s.Gate, c.gateFound)
	start(ctx, &wg, c.timeouts.call, &s.Waiting, c.waiting)
	wg.Wait()
	return s
}

// readDeployment reads the Deployment, and what it says about the flags and the alerts.
func (c *Cluster) readDeployment(ctx context.Context, s *Snapshot, o Options) {
	s.Deployment.Value, s.Deployment.Err = call(ctx, c.timeouts.call, get(c, Namespace, name, &appsv1.Deployment{}))
	if s.Deployment.Err != nil {
		s.Deployment.Value = nil
	}
	s.Flags.Value, s.Flags.Err = o.ParseFlags(argsOf(s.Deployment.Value))
	if s.Deployment.Err != nil {
		s.Flags.Err = s.Deployment.Err
	}
	s.AlertKey = alertKey(s.Deployment.Value, s.Flags.Value.AlertURLFile)
}

// PreSnapshot reads what matters before an installation. It never fails: what could not be read is in the answers.
func (c *Cluster) PreSnapshot(ctx context.Context) *PreSnapshot {
	s := &PreSnapshot{}
	s.Version.Value, s.Version.Err = c.Reach(ctx)
	var wg sync.WaitGroup
	start(ctx, &wg, c.timeouts.call, &s.Resources, c.resources)
	start(ctx, &wg, c.timeouts.call, &s.Labels, func(ctx context.Context) (map[Object]map[string]string, error) { return c.labelsOf(ctx, installed) })
	start(ctx, &wg, c.timeouts.call, &s.Denied, c.deniedToUser)
	wg.Wait()
	return s
}

// argsOf are the arguments of the Deployment's container, without the command serve.
func argsOf(d *appsv1.Deployment) []string {
	container := webhookContainer(d)
	if container == nil {
		return nil
	}
	if len(container.Args) > 0 && container.Args[0] == "serve" {
		return container.Args[1:]
	}
	return container.Args
}

// webhookContainer is nil if there is none.
func webhookContainer(d *appsv1.Deployment) *corev1.Container {
	if d == nil {
		return nil
	}
	for i, container := range d.Spec.Template.Spec.Containers {
		if container.Name == name {
			return &d.Spec.Template.Spec.Containers[i]
		}
	}
	return nil
}

func (c *Cluster) replicas(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.client.List(ctx, &list, client.InNamespace(Namespace), client.MatchingLabels{appLabel: name})
	return list.Items, err
}

// versionLabel is that of the metric; goversion is another one.
var versionLabel = regexp.MustCompile(`(?m)^sts_webhook_build_info\{(?:.*,)?version="([^"]*)"`)

// versions reads the metrics of the ready replicas through the apiserver.
func (c *Cluster) versions(ctx context.Context, pods []corev1.Pod) ([]string, error) {
	found, err := collect(readyPaths(pods), func(path string) (string, bool, error) {
		text, err := c.raw(ctx, path)
		m := versionLabel.FindSubmatch(text)
		if err != nil || m == nil {
			return "", false, err
		}
		return string(m[1]), true, nil
	})
	return slices.Compact(slices.Sorted(maps.Values(found))), err
}

// readyPaths are where the apiserver has the metrics of the ready replicas.
func readyPaths(pods []corev1.Pod) (paths []string) {
	for _, pod := range serving(pods) {
		if !isReady(&pod) {
			continue
		}
		port := int32(8080)
		for _, container := range pod.Spec.Containers {
			for _, p := range container.Ports {
				if container.Name == name && p.Name == "metrics" {
					port = p.ContainerPort
				}
			}
		}
		paths = append(paths, fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/metrics", Namespace, pod.Name, port))
	}
	return paths
}

// certificates forgets the keys at once.
func (c *Cluster) certificates(ctx context.Context) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: rotator.SecretName}, &secret); err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: rotator.SecretName, Annotations: secret.Annotations},
		Data:       map[string][]byte{"ca.crt": secret.Data["ca.crt"], "tls.crt": secret.Data["tls.crt"]},
	}, nil
}

// waiting counts the pods behind the scheduling gate.
func (c *Cluster) waiting(ctx context.Context) (n int, err error) {
	for next := ""; ; {
		var page corev1.PodList
		if err := c.client.List(ctx, &page, client.HasLabels{placement.GateLabel}, client.MatchingFields{"status.phase": string(corev1.PodPending)},
			client.Limit(pageSize), client.Continue(next)); err != nil {
			return 0, err
		}
		for _, pod := range page.Items {
			if slices.ContainsFunc(pod.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool { return g.Name == placement.Gate }) {
				n++
			}
		}
		if next = page.Continue; next == "" {
			return n, nil
		}
	}
}

// deniedToWebhook reviews the rights of the service account.
func (c *Cluster) deniedToWebhook(ctx context.Context) ([]Right, error) {
	return deniedOf(granted, func(r Right) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: r.attributes(), User: "system:serviceaccount:" + Namespace + ":" + name,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + Namespace, "system:authenticated"},
		}}
		err := c.client.Create(ctx, review)
		return review.Status.Allowed, err
	})
}

// deniedToUser reviews the rights of whoever runs this program.
func (c *Cluster) deniedToUser(ctx context.Context) ([]Right, error) {
	return deniedOf(toApply(), func(r Right) (bool, error) {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: r.attributes()}}
		err := c.client.Create(ctx, review)
		return review.Status.Allowed, err
	})
}

// resources lists what the apiserver serves of admissionregistration.k8s.io/v1.
func (c *Cluster) resources(ctx context.Context) (names []string, err error) {
	text, err := c.raw(ctx, "/apis/"+admissionGroup+"/v1")
	if err != nil {
		return nil, err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("parse the resources of %s/v1: %w", admissionGroup, err)
	}
	for _, r := range list.APIResources {
		names = append(names, r.Name)
	}
	return names, nil
}
