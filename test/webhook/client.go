package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReplicaURL is where ReplicaClient posts reviews.
const ReplicaURL = "https://" + Deployment + "/mutate"

// ReplicaClient returns a client that calls one replica directly, by the caBundle, as the
// apiserver does. It keeps as many connections; the caller closes those that are idle.
func (w *Webhook) ReplicaClient(ctx context.Context, replica corev1.Pod, connections int) (*http.Client, error) {
	config, err := w.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, Configuration, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read caBundle: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle)
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: connections,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return w.Cluster.Dialer("node-1")(ctx, network, net.JoinHostPort(replica.Status.PodIP, "8443"))
		},
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: Deployment + "." + Namespace + ".svc", MinVersion: tls.VersionTLS13},
	}}, nil
}
