package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func secretDeleted(ctx context.Context, s *shot) error {
	s.hit = time.Now()
	s.writes++
	if err := s.client.CoreV1().Secrets(s.namespace).Delete(ctx, s.secret, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete Secret: %w", err)
	}
	return nil
}

// secretCreated is an operator who applies the textbook's manifests again.
func secretCreated(ctx context.Context, s *shot) error {
	empty := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.secret, Namespace: s.namespace}}
	_, err := s.client.CoreV1().Secrets(s.namespace).Create(ctx, empty, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return errors.New("the textbook created its Secret again, the scenario assumes that it does not")
	}
	s.remark("never created by itself, lost nothing until the manifests were applied again")
	return err
}

// olderCopy puts back the Secret's data and annotations from before a rotation,
// as a restored backup does.
func olderCopy(ctx context.Context, s *shot) error {
	secrets := s.client.CoreV1().Secrets(s.namespace)
	old, err := secrets.Get(ctx, s.secret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Secret: %w", err)
	}
	if err := s.rotate(ctx); err != nil {
		return err
	}
	newer := s.seen.signer()
	if err := s.changeSecret(ctx, func(secret *corev1.Secret) { secret.Data, secret.Annotations = old.Data, old.Annotations }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	v, err := s.seen.await(ctx, s.hit, "the newer keys to come back", func(v version) bool { return !v.deleted && v.whole == nil && v.keyring.signer == newer })
	if err != nil {
		return err
	}
	s.remark("newer keys back after %.2f s", v.at.Sub(s.hit).Seconds())
	return nil
}
