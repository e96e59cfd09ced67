package rotator

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Annotations on the certificate Secret. They hold no secrets.
const (
	recordAnnotation  = "sts-webhook.custom-system/rotation" // what was done last, by a replica
	requestAnnotation = "sts-webhook.custom-system/rotate"   // what an operator asks for
	reportAnnotation  = "sts-webhook.custom-system/reported" // when it was reported that an object is repaired again and again
)

// recordFormat is the number of the format that this build writes. It is a
// variable only so that a test can link a build with another one (-ldflags -X).
var recordFormat = "1"

// record orders the states of the Secret: a counter, because no two clocks agree.
type record struct {
	Format     int      `json:"format"`
	Generation uint32   `json:"generation"`        // grows by one with every write; see laterThan
	Step       kind     `json:"step"`              // what that write did; for people
	Request    string   `json:"request,omitempty"` // the id of the request carried out last
	Trusted    []string `json:"trusted"`           // SHA-256 of each CA in ca.crt, hex; for "sts-webhook rotate"
}

// ownFormat is recordFormat as a number.
func ownFormat() int {
	n, err := strconv.Atoi(recordFormat)
	if err != nil {
		panic(fmt.Sprintf("recordFormat %q, set at build time, is not a number", recordFormat))
	}
	return n
}

// parseRecord returns generation 0, older than every other, for a text that is
// missing or damaged. What it knows of a newer format is what it has in common
// with this one: format and generation.
func parseRecord(text string) record {
	var r record
	err := json.Unmarshal([]byte(text), &r) // of fields with other types the rest is read
	if _, other := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !other || r.Format < 1 {
		return record{}
	}
	return r
}

// laterThan compares generations by serial number arithmetic (RFC 1982): whatever
// somebody writes into a record, one of two generations is the later one, so two
// replicas cannot both insist on theirs, and counting on never overflows. No
// generation is earlier than all.
func (r record) laterThan(o record) bool {
	return r.Generation != 0 && (o.Generation == 0 || int32(r.Generation-o.Generation) > 0)
}

// tooNew is an error if a build with a higher format number than this wrote r.
func (r record) tooNew(format int) error {
	if r.Format <= format {
		return nil
	}
	return fmt.Errorf("its record has format %d, this build writes %d", r.Format, format)
}

// request is what an operator asks for. The zero value asks for nothing.
type request struct {
	ID       string `json:"id"` // random; a request is done once, whenever it is seen
	Distrust bool   `json:"distrust,omitempty"`
}

// parseRequest returns an error for a text that no "sts-webhook rotate" wrote;
// an operator wants to know. The empty text asks for nothing.
func parseRequest(text string) (request, error) {
	var q request
	if text == "" {
		return q, nil
	}
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return request{}, fmt.Errorf("parse annotation %s: %w", requestAnnotation, err)
	}
	if q.ID == "" {
		return request{}, fmt.Errorf("parse annotation %s: it holds no id", requestAnnotation)
	}
	return q, nil
}

// encode returns v as JSON; record and request always encode.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Request asks the fleet for a new CA and returns when it is there: once the
// Secret's record carries the request's id and, with distrust, no caBundle holds a
// CA that it held before. It writes nothing but an annotation, the replicas do the
// work, and no key is read. Progress goes to out. It fails when ctx ends before.
func Request(ctx context.Context, c client.Client, namespace string, distrust bool, out io.Writer) error {
	q, begin := request{ID: rand.Text(), Distrust: distrust}, time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.1fs  "+format+"\n", append([]any{time.Since(begin).Seconds()}, args...)...)
	}
	old, unseen := trustedNow(ctx, c, namespace)
	meta, err := ask(ctx, c, namespace, q)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "requested, id %s\n", q.ID)
	for done := false; ; {
		rec := parseRecord(meta.Annotations[recordAnnotation])
		pending, err := parseRequest(meta.Annotations[requestAnnotation])
		lost := err != nil || pending.ID == "" || pending.ID == rec.Request // another request, or damage, took its place
		switch {
		case !done && rec.Request == q.ID:
			done = true
			say("%s: the Secret holds the new CA (generation %d)", rec.Step, rec.Generation)
		case !done && lost, done && distrust && lost && intersect(rec.Trusted, old):
			if meta, err = ask(ctx, c, namespace, q); err != nil {
				return err
			}
			done = false
		}
		if done && !distrust {
			return nil
		}
		if done && unseen != nil {
			say("cannot see whether the caBundle followed: %v", unseen)
			return nil
		}
		if done {
			if now, err := trustedNow(ctx, c, namespace); err == nil && len(now) > 0 && !intersect(now, old) {
				say("the caBundle trusts the new CA alone")
				return nil
			}
		}
		select {
		case <-ctx.Done():
			what := "a replica carries out request " + q.ID
			if done {
				what = "the caBundle follows"
			}
			return fmt.Errorf("wait until %s: %w: see the logs of the webhook's pods", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		_ = c.Get(ctx, client.ObjectKeyFromObject(meta), meta) // an apiserver that restarts; ctx bounds the wait
	}
}

func intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(id string) bool { return slices.Contains(b, id) })
}

// ask writes the request onto the Secret and returns the Secret's metadata.
func ask(ctx context.Context, c client.Client, namespace string, q request) (*metav1.PartialObjectMetadata, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	meta.Namespace, meta.Name = namespace, SecretName
	patch := encode(map[string]any{"metadata": map[string]any{"annotations": map[string]string{requestAnnotation: encode(q)}}})
	if err := c.Patch(ctx, meta, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return nil, fmt.Errorf("patch Secret %s/%s: %w", namespace, SecretName, err)
	}
	return meta, nil
}

// trustedNow lists the CAs by which pods are placed now.
func trustedNow(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	config := configurations[0].object()
	if err := c.Get(ctx, client.ObjectKeyFromObject(config), config); err != nil {
		return nil, fmt.Errorf("get %s: %w", configurations[0], err)
	}
	var ids []string
	for _, e := range entriesOf(config, namespace) {
		for _, cert := range bundleCAs(e.bundle) {
			ids = append(ids, fingerprint(cert))
		}
	}
	return ids, nil
}

// claimReport lets one replica of the fleet report about object: the Secret says
// when that was done last. It fails for the others.
func (c *cluster) claimReport(ctx context.Context, secret *corev1.Secret, object string, now time.Time) error {
	if secret == nil {
		return nil
	}
	claimed := secret.DeepCopy()
	reports := map[string]time.Time{}
	_ = json.Unmarshal([]byte(claimed.Annotations[reportAnnotation]), &reports) // damaged: nobody has reported
	if last := reports[object]; now.Sub(last).Abs() <= recursWithin {
		return fmt.Errorf("it was reported at %s", last.Format(time.RFC3339))
	}
	reports[object] = now.UTC().Round(time.Second)
	metav1.SetMetaDataAnnotation(&claimed.ObjectMeta, reportAnnotation, encode(reports))
	err := c.update(ctx, claimed, secret)
	if apierrors.IsConflict(err) {
		return err
	}
	return nil // when nothing can be written, reporting twice is better than not at all
}

// lastManager names the field manager, other than us, that changed one of these
// fields last; "unknown" when there is none, as after a removal.
func lastManager(obj client.Object, fields ...string) string {
	manager, at := "unknown", time.Time{}
	for _, m := range obj.GetManagedFields() {
		if strings.HasPrefix(m.Manager, fieldOwner) || m.FieldsV1 == nil || m.Time == nil || m.Time.Before(&metav1.Time{Time: at}) {
			continue
		}
		for _, field := range fields {
			if bytes.Contains(m.FieldsV1.Raw, []byte(`"f:`+field+`"`)) {
				manager, at = m.Manager, m.Time.Time
			}
		}
	}
	return manager
}
