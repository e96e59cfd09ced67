package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// argsPatch replaces the arguments of the Deployment's container; none removes
// the field.
func argsPatch(flags []string) []byte {
	args, err := json.Marshal(flags)
	if err != nil {
		panic(err) // strings can always be marshalled
	}
	return fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":%q,"args":%s}]}}}}`, Deployment, args)
}

// Restart replaces every replica, as kubectl rollout restart does, and waits for
// the rollout. It makes running pods of a newly loaded image.
func (w *Webhook) Restart(ctx context.Context) error {
	now := time.Now().Format(time.RFC3339Nano)
	err := w.patch(ctx, fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, now))
	if err != nil {
		return err
	}
	return w.WaitRollout(ctx)
}

// patch changes the Deployment by a strategic merge patch.
func (w *Webhook) patch(ctx context.Context, patch []byte) error {
	_, err := w.Client.AppsV1().Deployments(Namespace).Patch(ctx, Deployment, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patch Deployment %s/%s: %w", Namespace, Deployment, err)
	}
	return nil
}
