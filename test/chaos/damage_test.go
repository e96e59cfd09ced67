package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// fieldManager is the test's name in the managed fields of what it damages.
const fieldManager = "chaos"

// changeSecret damages the Secret.
func (a *attempt) changeSecret(ctx context.Context, change func(*corev1.Secret)) error {
	secrets := a.client.CoreV1().Secrets(a.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		secret, err := secrets.Get(ctx, a.secret, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(secret)
		a.hit = time.Now()
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		return err
	})
	if err != nil {
		return fmt.Errorf("damage Secret: %w", err)
	}
	a.writes.Add(1)
	return nil
}

// changeData damages the Secret's data: each key is replaced or, by nil, removed.
func (a *attempt) changeData(ctx context.Context, changes map[string][]byte) error {
	return a.changeSecret(ctx, func(secret *corev1.Secret) {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		for k, v := range changes {
			if v == nil {
				delete(secret.Data, k)
				continue
			}
			secret.Data[k] = v
		}
	})
}

func (a *attempt) data(ctx context.Context) (map[string][]byte, error) {
	secret, err := a.client.CoreV1().Secrets(a.namespace).Get(ctx, a.secret, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read Secret: %w", err)
	}
	return maps.Clone(secret.Data), nil
}

func dataRemoved(ctx context.Context, a *attempt) error {
	return a.changeSecret(ctx, func(secret *corev1.Secret) { secret.Data = nil })
}

func keyRemoved(name string) injection {
	return func(ctx context.Context, a *attempt) error {
		return a.changeData(ctx, map[string][]byte{name: nil})
	}
}

func truncated(name string) injection {
	return func(ctx context.Context, a *attempt) error {
		data, err := a.data(ctx)
		if err != nil {
			return err
		}
		return a.changeData(ctx, map[string][]byte{name: data[name][:len(data[name])/2]})
	}
}

func junk(ctx context.Context, a *attempt) error {
	text := []byte("\x00not a key\n-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
	return a.changeData(ctx, map[string][]byte{caCert: text, caKey: text, crt: text, key: text})
}

func recordRemoved(ctx context.Context, a *attempt) error {
	return a.changeSecret(ctx, func(secret *corev1.Secret) { delete(secret.Annotations, recordAnnotation) })
}

func foreignCA(ctx context.Context, a *attempt) error {
	data, err := foreign(a.dnsName())
	if err != nil {
		return err
	}
	return a.changeData(ctx, data)
}

// foreignSecret is the whole Secret of another cluster, restored or mirrored into this
// one: its record is valid, and much later than ours.
func foreignSecret(ctx context.Context, a *attempt) error {
	data, err := foreign(a.dnsName())
	if err != nil {
		return err
	}
	ca, _ := pem.Decode(data[caCert])
	sum := sha256.Sum256(ca.Bytes)
	return a.changeSecret(ctx, func(secret *corev1.Secret) {
		r := parseRecord(secret.Annotations[recordAnnotation])
		r.Generation += 1000
		r.Step, r.Request, r.Trusted = "rotate", "another-cluster", []string{hex.EncodeToString(sum[:])}
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // strings and numbers can always be marshalled
		}
		secret.Data = data
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, recordAnnotation, string(text))
	})
}

func swapped(name string) injection {
	return func(ctx context.Context, a *attempt) error {
		data, err := foreign(a.dnsName())
		if err != nil {
			return err
		}
		return a.changeData(ctx, map[string][]byte{name: data[name]})
	}
}

func secretDeleted(ctx context.Context, a *attempt) error {
	a.hit = time.Now()
	a.writes.Add(1)
	if err := a.client.CoreV1().Secrets(a.namespace).Delete(ctx, a.secret, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete Secret: %w", err)
	}
	return nil
}

// secretCreated is an operator who applies the textbook's manifests again.
func secretCreated(ctx context.Context, a *attempt) error {
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: a.secret, Namespace: a.namespace}}
	_, err := a.client.CoreV1().Secrets(a.namespace).Create(ctx, empty, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return errors.New("the textbook created its Secret again, the scenario assumes that it does not")
	}
	a.remark("never created by itself, lost nothing until the manifests were applied again")
	return err
}

// olderCopy puts back the Secret's data and annotations from before a rotation,
// as a restored backup does.
func olderCopy(ctx context.Context, a *attempt) error {
	old, err := a.client.CoreV1().Secrets(a.namespace).Get(ctx, a.secret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Secret: %w", err)
	}
	if err := a.rotate(ctx); err != nil {
		return err
	}
	newer := a.seen.signer()
	if err := a.changeSecret(ctx, func(secret *corev1.Secret) { secret.Data, secret.Annotations = old.Data, old.Annotations }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healLimit)
	defer cancel()
	v, err := a.seen.await(ctx, a.hit, secretKind, "the newer keys to come back", func(v version) bool { return v.isWhole() && v.keyring.signer == newer })
	if err != nil {
		return err
	}
	a.remark("newer keys back after %.2f s", v.at.Sub(a.hit).Seconds())
	return nil
}
