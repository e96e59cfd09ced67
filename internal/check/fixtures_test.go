package check

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"sts-mutating-webhook/internal/rotator"
)

var (
	// now is when everything is checked: half an hour after the certificates were made.
	now  = time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	policy = rotator.Policy{CADuration: 3650 * day, CertDuration: 365 * day, CAOverlap: day, RotationCheck: 20 * time.Second}
)

const (
	day          = 24 * time.Hour
	alertURLFile = "/etc/sts-webhook/dingtalk/url"
)

// authority is a CA that signs for the Service.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, life time.Duration) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert, a.pem = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: made.Add(life),
	}, a.key, nil, a.key)
	return a
}

// serving returns tls.crt.
func (a *authority) serving(t *testing.T, life time.Duration) []byte {
	t.Helper()
	_, text := issue(t, &x509.Certificate{
		DNSNames: []string{entryName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: made.Add(life),
	}, newKey(t), a.cert, a.key)
	return text
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	t.Helper()
	template.SerialNumber, template.NotBefore = big.NewInt(made.Unix()), made.Add(-time.Hour) // as the rotator does
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// replica is a pod of the Deployment.
func replica(name, node, image string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, Labels: map[string]string{appLabel: "sts-webhook"}},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{
			{Name: "sts-webhook", Image: image, Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9090}}},
		}},
		Status: corev1.PodStatus{
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "sts-webhook", ImageID: "sha256:1"}},
		},
	}
}

func webhookConfig(bundle []byte, path string) admissionv1.WebhookClientConfig {
	return admissionv1.WebhookClientConfig{
		CABundle: bundle, Service: &admissionv1.ServiceReference{Namespace: Namespace, Name: rotator.ServiceName, Path: &path},
	}
}

// healthy is an installation in which everything is well.
func healthy(t *testing.T) *Snapshot {
	t.Helper()
	ca := newAuthority(t, 3650*day)
	fail, ignore := admissionv1.Fail, admissionv1.Ignore
	pod := dryPod("default")
	pod.Spec.NodeSelector = map[string]string{probeSet: probeValue}
	s := &Snapshot{Now: now, Program: "v1.2.3", Namespace: "default"}
	s.Deployment.Value = &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: new(int32(2))}}
	s.Flags.Value = Flags{Policy: policy, Events: true, CheckNodes: true, AlertURLFile: alertURLFile}
	s.Pods.Value = []corev1.Pod{
		replica("a", "node-1", "registry:5000/sts-webhook:1.2.3", corev1.ConditionTrue), replica("b", "node-2", "registry:5000/sts-webhook:1.2.3", corev1.ConditionTrue),
	}
	s.Versions.Value = []string{"v1.2.3"}
	s.Pod.Value = pod
	s.StatefulSet.Err = denial("statefulsets", setsEntryName)
	s.Secret.Value = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: rotator.SecretName},
		Data:       map[string][]byte{"ca.crt": ca.pem, "tls.crt": ca.serving(t, 365*day)},
	}
	s.Mutating.Value = &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{
		{Name: entryName, ClientConfig: webhookConfig(ca.pem, "/mutate"), FailurePolicy: &fail},
		{Name: "gated." + entryName, ClientConfig: webhookConfig(ca.pem, "/mutate"), FailurePolicy: &ignore},
	}}
	s.Validating.Value = &admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{
		{Name: setsEntryName, ClientConfig: webhookConfig(ca.pem, "/validate"), FailurePolicy: &ignore},
	}}
	for _, r := range granted { // the optional manifests are not applied
		if r.File == gateRightsFile || r.File == volumeRightsFile {
			s.Denied.Value = append(s.Denied.Value, r)
		}
	}
	s.Gate.Value = map[Object]bool{}
	s.AlertKey, s.AlertURL.Value = manifestsAlertURL, true
	return s
}

// denial is how the apiserver reports that a webhook refused.
func denial(resource, entry string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: 422, Reason: metav1.StatusReasonInvalid,
		Message: `admission webhook "` + entry + `" denied the request: a mistake in ` + resource,
	}}
}

// failedCall is how the apiserver reports that it could not call our webhook.
func failedCall(cause string) error {
	return apierrors.NewInternalError(errorText(`failed calling webhook "` + entryName + `": ` + cause))
}

type errorText string

func (e errorText) Error() string { return string(e) }

// forbidden is the answer of RBAC.
func forbidden(verb, resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "",
		errorText(`User "jane" cannot `+verb+` resource "`+resource+`" in API group "" in the namespace "default"`))
}

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}
