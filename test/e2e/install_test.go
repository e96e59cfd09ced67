package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// serviceName is the name that the apiserver verifies in the serving certificate.
const serviceName = "sts-webhook.custom-system.svc"

// secretKeys are all keys of the Secret while no CA is being replaced.
var secretKeys = []string{"ca.crt", "ca.key", "tls.crt", "tls.key"}

func (s *suite) testInstall(t *testing.T) {
	if _, err := s.Client.CoreV1().Namespaces().Get(s.Ctx, webhook.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("the cluster is not empty: get namespace %s: %v", webhook.Namespace, err)
	}
	kit.Must(t, s.within(func(ctx context.Context) error {
		took, err := s.Install(ctx)
		t.Logf("kubectl apply to both replicas Ready: %.1f s (target: 6 s)", took.Seconds())
		return err
	}))
}

func (s *suite) testReplicas(t *testing.T) {
	replicas := s.expectTrustedReplicas(t)
	if len(replicas) == 2 && replicas[0].Spec.NodeName == replicas[1].Spec.NodeName {
		t.Errorf("both replicas run on %s", replicas[0].Spec.NodeName)
	}
}

// expectTrustedReplicas completes a TLS handshake with each replica, as the apiserver does.
func (s *suite) expectTrustedReplicas(t *testing.T) []corev1.Pod {
	t.Helper()
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	if len(replicas) != 2 {
		t.Errorf("%d replicas, want 2", len(replicas))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.caBundle(t)) {
		t.Error("the caBundle holds no certificate")
	}
	for _, pod := range replicas {
		conn, err := s.Cluster.Dialer("node-1")(s.Ctx, "tcp", pod.Status.PodIP+":8443")
		kit.Must(t, err)
		client := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: serviceName, MinVersion: tls.VersionTLS13})
		if err := client.HandshakeContext(s.Ctx); err != nil {
			t.Errorf("handshake with %s: %v", pod.Name, err)
		}
		conn.Close()
	}
	return replicas
}

func (s *suite) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret, err := s.Client.CoreV1().Secrets(webhook.Namespace).Get(s.Ctx, webhook.Secret, metav1.GetOptions{})
	kit.Must(t, err)
	return secret
}

func (s *suite) caBundle(t *testing.T) []byte {
	t.Helper()
	configuration, err := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(s.Ctx, webhook.Configuration, metav1.GetOptions{})
	kit.Must(t, err)
	if len(configuration.Webhooks) != 2 || configuration.Webhooks[0].Name != serviceName || configuration.Webhooks[1].Name != "gated."+serviceName {
		t.Fatalf("webhooks of the configuration: got %v, want %s and that for gated pods", configuration.Webhooks, serviceName)
	}
	if first, second := configuration.Webhooks[0].ClientConfig.CABundle, configuration.Webhooks[1].ClientConfig.CABundle; !bytes.Equal(first, second) {
		t.Errorf("the caBundles differ: %q and %q", first, second)
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

func (s *suite) testSecret(t *testing.T) {
	secret, bundle := s.secret(t), s.caBundle(t)
	data := secret.Data
	if got := slices.Sorted(maps.Keys(data)); !slices.Equal(got, secretKeys) {
		t.Fatalf("keys of the Secret: got %v, want %v", got, secretKeys)
	}
	if secret.Type != corev1.SecretTypeOpaque {
		t.Errorf("type of the Secret: got %s, want %s", secret.Type, corev1.SecretTypeOpaque)
	}
	if !bytes.Equal(bundle, data["ca.crt"]) {
		t.Errorf("caBundle: got %q, want ca.crt, %q", bundle, data["ca.crt"])
	}
	configurations := s.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	checks, err := configurations.Get(s.Ctx, webhook.ValidatingConfiguration, metav1.GetOptions{})
	kit.Must(t, err)
	if len(checks.Webhooks) != 1 {
		t.Fatalf("%d webhooks in %s, want 1", len(checks.Webhooks), webhook.ValidatingConfiguration)
	}
	if got := checks.Webhooks[0].ClientConfig.CABundle; !bytes.Equal(got, bundle) {
		t.Errorf("caBundle of %s: got %q, want %q", webhook.ValidatingConfiguration, got, bundle)
	}
	if block, rest := pem.Decode(bundle); block == nil || len(rest) != 0 {
		t.Errorf("caBundle: want one certificate, got %q", bundle)
	}
	ca, err := tls.X509KeyPair(data["ca.crt"], data["ca.key"])
	kit.Must(t, err)
	if !ca.Leaf.IsCA {
		t.Error("ca.crt is no CA")
	}
	serving, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
	kit.Must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err = serving.Leaf.Verify(x509.VerifyOptions{
		DNSName: serviceName, Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		t.Errorf("tls.crt: %v", err)
	}
	if serving.Leaf.IsCA || bytes.Equal(data["ca.key"], data["tls.key"]) {
		t.Error("tls.crt is a CA, or shares the CA's key")
	}
}

// installed is what another apply must leave alone. Resource versions change with
// every write, so also with one that was undone at once.
func (s *suite) installed(t *testing.T) string {
	t.Helper()
	list := func(column string, objects ...string) string {
		columns := "--output=custom-columns=KIND:.kind,NAME:.metadata.name," + column
		return s.Kubectl(t, append(objects, "--namespace", webhook.Namespace, columns)...)
	}
	return list("VERSION:.metadata.resourceVersion", "get", "secret/"+webhook.Secret, "mutatingwebhookconfiguration/"+webhook.Configuration,
		"validatingwebhookconfiguration/"+webhook.ValidatingConfiguration) +
		list("GENERATION:.metadata.generation", "get", "deployment/"+webhook.Deployment, "poddisruptionbudget/"+webhook.Deployment) +
		list("UID:.metadata.uid", "get", "pods", "--selector=app="+webhook.Deployment)
}

func (s *suite) testReapply(t *testing.T) {
	before, data := s.installed(t), s.secret(t).Data
	for range 5 {
		out, err := s.Apply(s.Ctx)
		kit.Must(t, err)
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			// Of a PodDisruptionBudget kubectl always says "configured": its selector
			// is replaced as a whole by every patch. The generation shows the truth.
			if !strings.HasSuffix(line, " unchanged") && line != "poddisruptionbudget.policy/sts-webhook configured" {
				t.Errorf("kubectl apply says: %s", line)
			}
		}
	}
	if after := s.installed(t); after != before {
		t.Errorf("after five more applies: got\n%s\nwant\n%s", after, before)
	}
	if !maps.EqualFunc(s.secret(t).Data, data, bytes.Equal) {
		t.Error("the Secret's data changed")
	}
}

func (s *suite) testReinstall(t *testing.T) {
	previous, namespace := s.secret(t).Data["ca.crt"], s.namespace(t)
	for range 3 {
		kit.Must(t, s.within(s.Uninstall))
		kit.Must(t, s.within(func(ctx context.Context) error { return s.installMeasured(ctx, t, namespace) }))
		s.expectTrustedReplicas(t)
		s.expectQuietLogs(t)
		ca := s.secret(t).Data["ca.crt"]
		if bytes.Equal(ca, previous) {
			t.Error("the CA outlived the uninstallation")
		}
		previous = ca
	}
}

// testMissingSecret applies all manifests but the Secret's.
func (s *suite) testMissingSecret(t *testing.T) {
	kit.Must(t, s.within(s.Uninstall))
	files, err := filepath.Glob(s.Path("manifests/*.yaml"))
	kit.Must(t, err)
	args := []string{"apply"}
	for _, file := range files {
		if filepath.Base(file) != "20-secret.yaml" {
			args = append(args, "-f", file)
		}
	}
	if len(args) != 2*len(files)-1 {
		t.Fatalf("20-secret.yaml is not among %v", files)
	}
	if out := s.Kubectl(t, args...); strings.Contains(out, "secret/") {
		t.Fatalf("a Secret was applied: %s", out)
	}
	kit.Must(t, s.within(s.WaitRollout))
	ctx, cancel := context.WithTimeout(s.Ctx, 5*time.Second)
	defer cancel()
	kit.Must(t, s.StartChecks(ctx)) // Ready replicas may still have to write the caBundle of the checks
	s.expectTrustedReplicas(t)
	s.testSecret(t)
	s.expectQuietLogs(t)
}
