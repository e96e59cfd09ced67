package rotator

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// withoutKeys is what Foresee is given.
func withoutKeys(k *keyring, request string) *corev1.Secret {
	secret := secretOf(k)
	secret.Namespace = "test"
	delete(secret.Data, caKeyKey)
	delete(secret.Data, keyKey)
	if request != "" {
		secret.Annotations[requestAnnotation] = request
	}
	return secret
}

func TestForeseeSaysWhatTheReplicasDoNext(t *testing.T) {
	k := keyrings()
	for name, c := range map[string]struct {
		k       *keyring
		request string
		now     time.Duration // after noon
	}{
		"the serving certificate comes first": {k.first, "", 0},
		"the CA when it is due":               {k.first, "", 60 * time.Hour},
		"an old CA is retired":                {k.rotated, "", 90 * time.Minute},
		"an old CA is overdue":                {k.rotated, "", 3 * time.Hour},
		"after the retirement":                {k.retired, "", 3 * time.Hour},
		"a request":                           {k.first, `{"id": "1"}`, 0},
		"a request to distrust":               {k.first, `{"id": "1", "distrust": true}`, 0},
		"a request that cannot be read":       {k.first, `{`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon.Add(c.now)
			q, _ := parseRequest(c.request)
			step, due := nextStep(c.k.summary, q, issuePolicy, now)
			got, err := Foresee(withoutKeys(c.k, c.request), issuePolicy, now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Step != string(step) || !got.Due.Equal(due) {
				t.Errorf("got %s at %s, want what the replicas decide: %s at %s", got.Step, got.Due, step, due)
			}
			if len(got.CAs) != len(c.k.cas) || !got.CAs[0].Equal(c.k.cas[0]) || !got.Serving.Equal(c.k.serving.Leaf) {
				t.Error("the certificates are not those of the keyring")
			}
		})
	}
}

func TestForeseeNamesWhatDoesNotFit(t *testing.T) {
	k := keyrings()
	for want, damage := range map[string]func(*corev1.Secret){
		"the Secret is empty":                                          func(s *corev1.Secret) { s.Data = nil },
		"ca.crt: not a sequence of PEM certificates":                   func(s *corev1.Secret) { s.Data[caCertKey] = []byte("junk") },
		"tls.crt: no certificate":                                      func(s *corev1.Secret) { delete(s.Data, certKey) },
		"tls.crt is not signed by the first certificate of ca.crt":     func(s *corev1.Secret) { s.Data[caCertKey] = k.foreign.bundle() },
		"or not for sts-webhook.elsewhere.svc":                         func(s *corev1.Secret) { s.Namespace = "elsewhere" },
		"tls.crt is not signed by the first certificate of ca.crt, or": func(s *corev1.Secret) { s.Data[certKey] = s.Data[caCertKey] },
	} {
		secret := withoutKeys(k.first, "")
		damage(secret)
		if _, err := Foresee(secret, issuePolicy, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
