package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Kinds of versions.
const (
	secretKind = "Secret"
	configKind = "configuration"
)

// version is one version of the Secret or of the webhook configuration.
type version struct {
	at   time.Time
	kind string
	// deleted means that there is none from now on.
	deleted bool
	// damage is nil for a Secret that is whole; keyring is then what it holds.
	damage  error
	keyring keyring
	// rotation is what the Secret's annotation records, request whether it asks for
	// one, reported when the fleet told last of repairs that recur.
	rotation rotationRecord
	request  bool
	reported string
	// bundle is the caBundle of a configuration; none means that no entry calls the webhook.
	bundle string
	none   bool
	// by is the field manager of the newest change, to the second.
	by string
	// resourceVersion is the apiserver's name for this version.
	resourceVersion string
}

// rotationRecord is the annotation with which ours records its steps.
type rotationRecord struct {
	Format     int      `json:"format"`
	Generation int64    `json:"generation"`
	Step       string   `json:"step"`
	Request    string   `json:"request,omitempty"`
	Trusted    []string `json:"trusted"`
}

const (
	recordAnnotation  = "sts-webhook.custom-system/rotation"
	requestAnnotation = "sts-webhook.custom-system/rotate"
	reportAnnotation  = "sts-webhook.custom-system/reported"
)

// parseRecord returns the zero record for a text that is none.
func parseRecord(text string) rotationRecord {
	var r rotationRecord
	if json.Unmarshal([]byte(text), &r) != nil {
		return rotationRecord{}
	}
	return r
}

// isWhole reports whether it is a Secret with everything in it.
func (v version) isWhole() bool { return v.kind == secretKind && !v.deleted && v.damage == nil }

func (v version) String() string {
	head := fmt.Sprintf("%s %s by %s: ", v.at.Format("15:04:05.000"), v.kind, v.by)
	switch {
	case v.deleted:
		return head + "deleted"
	case v.none:
		return head + "no entry calls the webhook"
	case v.kind == configKind:
		return head + fmt.Sprintf("caBundle %s", fingerprints(v.bundle))
	}
	text := head + fmt.Sprintf("generation %d, %s, CAs %s, signer %s", v.rotation.Generation, v.rotation.Step, v.keyring.cas, v.keyring.signer)
	if v.request {
		text += ", with a request"
	}
	if v.damage != nil {
		text += ", damaged: " + v.damage.Error()
	}
	return text
}

// recorder sees every version of a target's two objects.
type recorder struct {
	target *target
	// mu guards versions and changed.
	mu       sync.Mutex
	versions []version
	// changed is closed and replaced at each new version.
	changed chan struct{}
}

// record watches until ctx ends and returns when the present versions are known.
func record(ctx context.Context, t *target) (*recorder, error) {
	r := &recorder{target: t, changed: make(chan struct{})}
	for _, o := range []struct {
		kind, resource, namespace, name string
		getter                          rest.Interface
		object                          runtime.Object
	}{
		{secretKind, "secrets", t.namespace, t.secret, t.client.CoreV1().RESTClient(), &corev1.Secret{}},
		{configKind, "mutatingwebhookconfigurations", "", t.configuration, t.client.AdmissionregistrationV1().RESTClient(), &admissionv1.MutatingWebhookConfiguration{}},
	} {
		watch := cache.NewListWatchFromClient(o.getter, o.resource, o.namespace, fields.OneTermEqualSelector("metadata.name", o.name))
		_, informer := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: watch, ObjectType: o.object, Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { r.add(o.kind, obj, false) },
			UpdateFunc: func(old, obj any) { r.update(o.kind, old, obj) },
			DeleteFunc: func(obj any) { r.add(o.kind, obj, true) },
		}})
		go informer.RunWithContext(ctx)
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return nil, fmt.Errorf("watch %s %s: %w", o.kind, o.name, ctx.Err())
		}
	}
	return r, nil
}

// update leaves out what a new list after a broken watch repeats.
func (r *recorder) update(kind string, old, obj any) {
	before, err := meta.Accessor(old)
	after, err2 := meta.Accessor(obj)
	if err == nil && err2 == nil && before.GetResourceVersion() == after.GetResourceVersion() {
		return
	}
	r.add(kind, obj, false)
}

func (r *recorder) add(kind string, obj any, deleted bool) {
	v := version{at: time.Now(), kind: kind, deleted: deleted}
	if object, err := meta.Accessor(obj); err == nil {
		v.by, v.resourceVersion = newestManager(object.GetManagedFields()), object.GetResourceVersion()
	}
	if secret, ok := obj.(*corev1.Secret); ok && !deleted {
		v.keyring, v.damage = inspect(secret.Data, r.target.dnsName())
		v.rotation = parseRecord(secret.Annotations[recordAnnotation])
		v.request = secret.Annotations[requestAnnotation] != ""
		v.reported = secret.Annotations[reportAnnotation]
	}
	if config, ok := obj.(*admissionv1.MutatingWebhookConfiguration); ok && !deleted {
		v.bundle, v.none = string(r.target.bundleOf(config)), r.target.entry(config) == nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions = append(r.versions, v)
	close(r.changed)
	r.changed = make(chan struct{})
}

func newestManager(fields []metav1.ManagedFieldsEntry) string {
	var newest metav1.ManagedFieldsEntry
	for _, f := range fields {
		if newest.Time == nil || f.Time != nil && f.Time.After(newest.Time.Time) {
			newest = f
		}
	}
	return newest.Manager
}

// after are the versions of a kind that were seen at or after t; the channel is
// closed when there is another one.
func (r *recorder) after(t time.Time, kind string) ([]version, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []version
	for _, v := range r.versions {
		if v.kind == kind && !v.at.Before(t) {
			out = append(out, v)
		}
	}
	return out, r.changed
}

// await returns the first version of a kind at or after t that is as wanted.
func (r *recorder) await(ctx context.Context, t time.Time, kind, what string, wanted func(version) bool) (version, error) {
	for {
		versions, changed := r.after(t, kind)
		for _, v := range versions {
			if wanted(v) {
				return v, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return version{}, fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}

// awaitRotation waits for each step of a rotation that begins after t, and calls
// do when it is seen.
func (r *recorder) awaitRotation(ctx context.Context, t time.Time, do func(step string) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, step := range []string{rotateStep, retireStep} {
		v, err := r.await(ctx, t, secretKind, "step "+step, func(v version) bool { return !v.deleted && v.rotation.Step == step })
		if err != nil {
			return err
		}
		// The step before is on record until this one is taken, so look from here.
		t = v.at
		if err := do(step); err != nil {
			return err
		}
	}
	return nil
}

// signers is the number of changes of the signing CA since t.
func (r *recorder) signers(t time.Time) int {
	versions, _ := r.after(time.Time{}, secretKind)
	changes, last := 0, ""
	for _, v := range versions {
		if !v.isWhole() {
			continue
		}
		if last != "" && v.keyring.signer != last && !v.at.Before(t) {
			changes++
		}
		last = v.keyring.signer
	}
	return changes
}

// signer is the one that signs now; empty when the Secret is not whole.
func (r *recorder) signer() string { return r.newest(secretKind).keyring.signer }

// newest is the version of now; the zero version when there never was one.
func (r *recorder) newest(kind string) version {
	versions, _ := r.after(time.Time{}, kind)
	if len(versions) == 0 {
		return version{}
	}
	return versions[len(versions)-1]
}
