package rotator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Request asks the fleet for a new CA and follows it: until the CA is staged,
// or, with distrust, until every older CA is gone. It only writes an annotation;
// the replicas do the work, and no key is ever read. Progress goes to out. It
// fails when nothing happened before ctx ended.
func Request(ctx context.Context, c client.Client, namespace string, distrust bool, out io.Writer) error {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	meta.Namespace, meta.Name = namespace, SecretName
	if err := c.Get(ctx, client.ObjectKeyFromObject(meta), meta); err != nil {
		return fmt.Errorf("get Secret %s/%s: %w", namespace, SecretName, err)
	}
	before := parseRecord(meta.Annotations[recordAnnotation])

	// The replicas compare the request with the time of the last staging, so
	// it must be later than that, whatever our own clock says.
	asked := laterThan(before.At, time.Now())
	q, last := request{RotateAt: asked}, stepStage
	if distrust {
		q, last = request{DistrustBefore: asked}, stepRetire
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{requestAnnotation: encode(q)}}})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if err := c.Patch(ctx, meta, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("patch Secret %s/%s: %w", namespace, SecretName, err)
	}
	fmt.Fprintln(out, "requested; waiting for a replica to act")
	return follow(ctx, c, meta, before.At, last, out)
}

// follow prints each step after since, up to last.
func follow(ctx context.Context, c client.Client, meta *metav1.PartialObjectMetadata, since time.Time, last step, out io.Writer) error {
	begin := time.Now()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for step %q: %w: see the logs of the webhook's pods; "+
				"while a rotation is under way, another is taken up after it", last, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(meta), meta); err != nil {
			continue // an apiserver that restarts; ctx bounds the wait
		}
		now := parseRecord(meta.Annotations[recordAnnotation])
		if !now.At.After(since) {
			continue
		}
		since = now.At
		fmt.Fprintf(out, "%5.1fs  %s (the next step follows after %s)\n", time.Since(begin).Seconds(), now.Step, time.Duration(now.Overlap))
		if now.Step == last {
			return nil
		}
	}
}
