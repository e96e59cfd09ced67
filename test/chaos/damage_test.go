package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// fieldManager is the test's name in the managed fields of what it damages.
const fieldManager = "chaos"

// change damages a Secret; foreign is the data of one that is whole, but of another CA.
type change func(secret *corev1.Secret, foreign map[string][]byte)

// damaged changes the Secret.
func damaged(change change) step {
	return func(a *attempt) {
		foreign := a.foreign()
		a.changeSecret(func(secret *corev1.Secret) { change(secret, foreign) })
	}
}

func (a *attempt) changeSecret(change func(*corev1.Secret)) {
	a.t.Helper()
	secrets := a.Client.CoreV1().Secrets(a.namespace)
	a.must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret, err := secrets.Get(a.Ctx, a.secret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(secret)
		a.hit = time.Now()
		_, err = secrets.Update(a.Ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	}))
	a.writes.Add(1)
}

func (a *attempt) readSecret() *corev1.Secret {
	a.t.Helper()
	secret, err := a.Client.CoreV1().Secrets(a.namespace).Get(a.Ctx, a.secret, metav1.GetOptions{})
	a.must(err)
	return secret
}

func (a *attempt) removeData() {
	a.changeSecret(func(secret *corev1.Secret) { secret.Data = nil })
}

func removed(name string) change {
	return func(secret *corev1.Secret, _ map[string][]byte) { delete(secret.Data, name) }
}

func truncated(name string) change {
	return func(secret *corev1.Secret, _ map[string][]byte) {
		secret.Data[name] = secret.Data[name][:len(secret.Data[name])/2]
	}
}

func replaced(names ...string) change {
	return func(secret *corev1.Secret, foreign map[string][]byte) {
		for _, name := range names {
			secret.Data[name] = foreign[name]
		}
	}
}

func junk(secret *corev1.Secret, _ map[string][]byte) {
	for _, name := range []string{caCert, caKey, crt, key} {
		secret.Data[name] = []byte("\x00not a key\n-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
	}
}

func recordRemoved(secret *corev1.Secret, _ map[string][]byte) {
	delete(secret.Annotations, recordAnnotation)
}

// foreignSecret is the whole Secret of another cluster, restored or mirrored into this
// one: its record is valid, and much later than ours.
func foreignSecret(secret *corev1.Secret, foreign map[string][]byte) {
	ca, _ := pem.Decode(foreign[caCert])
	sum := sha256.Sum256(ca.Bytes)
	var r rotationRecord
	_ = json.Unmarshal([]byte(secret.Annotations[recordAnnotation]), &r) // it was whole until now
	r.Generation += 1000
	r.Step, r.Request, r.Trusted = "rotate", "another-cluster", []string{hex.EncodeToString(sum[:])}
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers can always be marshalled
	}
	secret.Data = foreign
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, recordAnnotation, string(text))
}

func secretDeleted(a *attempt) {
	a.hit = time.Now()
	a.writes.Add(1)
	a.must(a.Client.CoreV1().Secrets(a.namespace).Delete(a.Ctx, a.secret, metav1.DeleteOptions{}))
}

// deletedAndCreated deletes the textbook's Secret; then an operator applies the manifests again.
func deletedAndCreated(a *attempt) {
	secretDeleted(a)
	a.Pause(a.pause)
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: a.secret, Namespace: a.namespace}}
	_, err := a.Client.CoreV1().Secrets(a.namespace).Create(a.Ctx, empty, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		a.t.Fatal("the textbook created its Secret again, the scenario assumes that it does not")
	}
	a.must(err)
	a.remark("did not create it again, lost nothing until the manifests were applied")
}

// olderCopy puts back the Secret's data and annotations from before a rotation,
// as a restored backup does.
func olderCopy(a *attempt) {
	old := a.readSecret()
	a.rotate()
	signer := a.seen.signer()
	a.changeSecret(func(secret *corev1.Secret) { secret.Data, secret.Annotations = old.Data, old.Annotations })
	a.remark("newer keys back after %.2f s", a.awaitSigner(signer, healLimit).Seconds())
}

// awaitSigner returns how long after the damage the Secret was whole, with this CA.
func (a *attempt) awaitSigner(signer string, limit time.Duration) time.Duration {
	a.t.Helper()
	v := a.await(a.hit, limit, secretKind, "the keys to come back", func(v version) bool { return v.isWhole() && v.keyring.signer == signer })
	return v.at.Sub(a.hit)
}
