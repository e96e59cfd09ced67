package rollout

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
)

// standin is a webhook inside this test that allows every pod, in the network of
// the control plane.
type standin struct {
	address string
	bundle  []byte
	// calls counts the admission reviews that have come.
	calls atomic.Int32
}

// startStandin serves with before in front of every answer; before returns true
// when it has answered itself. The server has net/http's own life.
func startStandin(t *testing.T, in *suite, idle time.Duration, before func(call int32, w http.ResponseWriter) bool) *standin {
	t.Helper()
	ip := in.Cluster.NodeIP("node-1")
	listener, err := in.Cluster.Listen("node-1", "tcp", net.JoinHostPort(ip, "0"))
	kit.Must(t, err)
	certificate, bundle := selfSigned(t, net.ParseIP(ip))
	s := &standin{address: listener.Addr().String(), bundle: bundle}
	server := &http.Server{
		IdleTimeout: idle,
		Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if n := s.calls.Add(1); err == nil && !before(n, out) {
				allow(out, body)
			}
		}),
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}))
	}()
	t.Cleanup(func() {
		_ = server.Close() // closes what is left; nothing can fail that matters
		<-served
	})
	return s
}

func allow(out http.ResponseWriter, body []byte) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		// The soak sends no reviews; any answer will do.
		_, _ = io.WriteString(out, "{}")
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	answer, _ := json.Marshal(review) // plain data, it cannot fail
	out.Header().Set("Content-Type", "application/json")
	_, _ = out.Write(answer) // the apiserver reports what it does not get
}

// register sends pods with the label rollout-test=name to the stand-in.
func (s *standin) register(ctx context.Context, t *testing.T, in *suite, name string) {
	t.Helper()
	url, fail, none, timeout := "https://"+s.address+"/mutate", registrationv1.Fail, registrationv1.SideEffectClassNone, int32(5)
	configuration := &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "rollout-" + name},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: name + ".rollout.test", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
			ClientConfig:   registrationv1.WebhookClientConfig{URL: &url, CABundle: s.bundle},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rollout-test": name}},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
	configurations := in.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err := configurations.Create(ctx, configuration, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		if err := configurations.Delete(context.WithoutCancel(ctx), configuration.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func selfSigned(t *testing.T, ip net.IP) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	kit.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{ip}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(fmt.Errorf("create certificate: %w", err))
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
