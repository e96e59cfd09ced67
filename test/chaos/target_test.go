package chaos

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/test/kit"
)

// target is a webhook that is tested.
type target struct {
	*suite
	name, namespace, deployment, secret, configuration, optIn string
	// program is the container's argv[0], port the one that it serves on.
	program, port string
	// replicas is how many there are while nothing happens.
	replicas int
	// seen is nil for a target that is not watched.
	seen *recorder
}

// dnsName is the name by which the apiserver calls the webhook.
func (t *target) dnsName() string { return t.deployment + "." + t.namespace + ".svc" }

// listPods lists the replicas, also those that end.
func (t *target) listPods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := t.Client.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + t.deployment + ",!" + wrongClock})
	if err != nil {
		return nil, fmt.Errorf("list replicas: %w", err)
	}
	return list.Items, nil
}

// settled is nil when all is well: the Secret is whole and between two
// rotations, and each of the replicas shows a certificate that the caBundle
// verifies.
func (t *target) settled(ctx context.Context) error {
	config, err := t.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, t.configuration, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret, err := t.Client.CoreV1().Secrets(t.namespace).Get(ctx, t.secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	// What happens next is recorded only by a watch that has seen what is.
	if t.seen != nil && (!t.seen.newest(secretKind).is(secret) || !t.seen.newest(configKind).is(config)) {
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
	pods, err := t.listPods(ctx)
	if err != nil {
		return err
	}
	ready, others := 0, 0
	for _, pod := range pods {
		switch {
		case pod.DeletionTimestamp != nil:
		case !kit.Ready(pod):
			others++
		default:
			if err := t.handshake(ctx, pod, t.bundleOf(config)); err != nil {
				return fmt.Errorf("shake hands with %s: %w", pod.Name, err)
			}
			ready++
		}
	}
	if ready != t.replicas || others > 0 {
		return fmt.Errorf("%d replicas are ready and %d are not, want %d and none", ready, others, t.replicas)
	}
	return nil
}

// handshake connects to a replica as the apiserver does.
func (t *target) handshake(ctx context.Context, pod corev1.Pod, bundle []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	raw, err := t.Cluster.Dialer("node-1")(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, t.port))
	if err != nil {
		return err
	}
	defer raw.Close()
	return tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: t.dnsName(), MinVersion: tls.VersionTLS12}).HandshakeContext(ctx)
}

// settle waits until the target has settled.
func (t *target) settle(limit time.Duration) error {
	if err := kit.Until(t.Ctx, limit, t.settled); err != nil {
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

// pods are the replicas that are not about to end.
func (a *attempt) pods() []corev1.Pod {
	a.t.Helper()
	list, err := a.listPods(a.Ctx)
	a.must(err)
	return slices.DeleteFunc(list, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
}

// patch changes the Deployment by a strategic merge patch.
func (a *attempt) patch(format string, args ...any) {
	a.t.Helper()
	deployments, patch := a.Client.AppsV1().Deployments(a.namespace), fmt.Appendf(nil, format, args...)
	_, err := deployments.Patch(a.Ctx, a.deployment, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	a.must(err)
}

// restart begins what kubectl rollout restart does.
func (a *attempt) restart() {
	a.patch(`{"spec":{"template":{"metadata":{"annotations":{"restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
}

func (a *attempt) scale(n int) { a.patch(`{"spec":{"replicas":%d}}`, n) }

// awaitScale returns when there are n replicas, of the newest template and Ready.
// Others may still drain.
func (a *attempt) awaitScale(n int32) {
	a.t.Helper()
	a.Eventually(a.t, controlSettleTimeout, func() error {
		d, err := a.Client.AppsV1().Deployments(a.namespace).Get(a.Ctx, a.deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration < d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
			return fmt.Errorf("replicas: %d, %d updated, %d available, want %d", s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, n)
		}
		return nil
	})
}

// drained returns when n replicas are left, those that still drain included.
func (a *attempt) drained(n int) {
	a.t.Helper()
	a.Eventually(a.t, time.Minute, func() error {
		list, err := a.listPods(a.Ctx)
		if err == nil && len(list) != n {
			err = fmt.Errorf("%d replicas are left, want %d", len(list), n)
		}
		return err
	})
}
