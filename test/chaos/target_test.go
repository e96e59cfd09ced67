package chaos

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// replicas of each webhook.
const replicas = 3

// target is a webhook that is tested.
type target struct {
	cluster *cluster.Cluster
	client  kubernetes.Interface

	name, namespace, deployment, secret, configuration, optIn string
	// container is the name of the Deployment's container, program its argv[0].
	container, program string
	// port is the one that the containers serve on.
	port string
	// replicas is how many there are while nothing happens.
	replicas int
	seen     *recorder
}

func ours(c *cluster.Cluster, client kubernetes.Interface) *target {
	return &target{
		cluster: c, client: client, name: "ours", namespace: "custom-system", deployment: "sts-webhook", secret: "sts-webhook-certs",
		configuration: "sts-mutating-webhook", optIn: load.OptIn, container: "sts-webhook", program: "/sts-webhook", port: "8443", replicas: replicas,
	}
}

func textbook(c *cluster.Cluster, client kubernetes.Interface) *target {
	return &target{
		cluster: c, client: client, name: "textbook", namespace: "textbook-system", deployment: "textbook-webhook", secret: "textbook-webhook-cert",
		configuration: "textbook-webhook", optIn: "textbook", container: "manager", program: "/program", port: "9443", replicas: replicas,
	}
}

// dnsName is the name by which the apiserver calls the webhook.
func (t *target) dnsName() string { return t.deployment + "." + t.namespace + ".svc" }

// pods are the replicas that are not told to end.
func (t *target) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := t.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + t.deployment + ",!" + wrongClock})
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	var pods []corev1.Pod
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// patch changes the Deployment by a strategic merge patch.
func (t *target) patch(ctx context.Context, format string, args ...any) error {
	_, err := t.client.AppsV1().Deployments(t.namespace).Patch(ctx, t.deployment, types.StrategicMergePatchType, fmt.Appendf(nil, format, args...), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch Deployment %s: %w", t.deployment, err)
	}
	return nil
}

// restart begins what kubectl rollout restart does.
func (t *target) restart(ctx context.Context) error {
	return t.patch(ctx, `{"spec":{"template":{"metadata":{"annotations":{"restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
}

func (t *target) scale(ctx context.Context, n int) error {
	return t.patch(ctx, `{"spec":{"replicas":%d}}`, n)
}

// awaitScale returns when there are n replicas of the newest template, all Ready.
// Others may still drain; see drained.
func (t *target) awaitScale(ctx context.Context, n int32) error {
	return kit.Until(ctx, controlSettleTimeout, func(ctx context.Context) error {
		d, err := t.client.AppsV1().Deployments(t.namespace).Get(ctx, t.deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration < d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
			return fmt.Errorf("replicas: %d, %d updated, %d available, want %d", s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, n)
		}
		pods, err := t.pods(ctx)
		if err != nil {
			return err
		}
		if len(pods) != int(n) {
			return fmt.Errorf("%d pods, want %d", len(pods), n)
		}
		return nil
	})
}

// drained returns when n replicas are left, those that still drain included.
func (t *target) drained(ctx context.Context, n int) error {
	return kit.Until(ctx, time.Minute, func(ctx context.Context) error {
		list, err := t.client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + t.deployment + ",!" + wrongClock})
		if err == nil && len(list.Items) != n {
			err = fmt.Errorf("%d replicas are left, want %d", len(list.Items), n)
		}
		return err
	})
}

// settled is nil when all is well: the Secret is whole and between two
// rotations, and each of the replicas shows a certificate that the caBundle
// verifies.
func (t *target) settled(ctx context.Context) error {
	config, err := t.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, t.configuration, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret, err := t.client.CoreV1().Secrets(t.namespace).Get(ctx, t.secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// After a restart of the apiserver client-go waits before it watches again.
	if t.seen != nil && (t.seen.newest(secretKind).resourceVersion != secret.ResourceVersion || t.seen.newest(configKind).resourceVersion != config.ResourceVersion) {
		return errors.New("the recorder has not seen the newest versions")
	}
	k, err := inspect(secret.Data, t.dnsName())
	if err != nil {
		return err
	}
	if len(k.cas) != 1 {
		return errors.New("a rotation is under way")
	}
	if !bytes.Equal(t.bundleOf(config), secret.Data[caCert]) {
		return errors.New("the caBundle is not the Secret's")
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return err
	}
	ready := 0
	for _, pod := range pods {
		if !kit.Ready(pod) {
			continue
		}
		if err := t.handshake(ctx, pod, t.bundleOf(config)); err != nil {
			return fmt.Errorf("shake hands with %s: %w", pod.Name, err)
		}
		ready++
	}
	if len(pods) != t.replicas || ready != t.replicas {
		return fmt.Errorf("%d replicas, %d ready, want %d", len(pods), ready, t.replicas)
	}
	return nil
}

// handshake connects to a replica as the apiserver does.
func (t *target) handshake(ctx context.Context, pod corev1.Pod, bundle []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	raw, err := t.cluster.Dialer("node-1")(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, t.port))
	if err != nil {
		return err
	}
	defer raw.Close()
	return tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: t.dnsName(), MinVersion: tls.VersionTLS12}).HandshakeContext(ctx)
}

// settle waits until the target has settled.
func (t *target) settle(ctx context.Context, limit time.Duration) error {
	if err := kit.Until(ctx, limit, t.settled); err != nil {
		return fmt.Errorf("wait for %s to settle: %w", t.name, err)
	}
	return nil
}

// entry is the entry of a configuration that calls the target; nil when there is none.
func (t *target) entry(config *admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhook {
	for i := range config.Webhooks {
		if s := config.Webhooks[i].ClientConfig.Service; s != nil && s.Namespace == t.namespace && s.Name == t.deployment {
			return &config.Webhooks[i]
		}
	}
	return nil
}

// bundleOf is the caBundle of that entry.
func (t *target) bundleOf(config *admissionv1.MutatingWebhookConfiguration) []byte {
	if entry := t.entry(config); entry != nil {
		return entry.ClientConfig.CABundle
	}
	return nil
}
