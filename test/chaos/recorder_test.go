package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"sts-mutating-webhook/test/kit"
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
	// rotation is what the Secret's annotation records, request whether there is a
	// request, reported when a replica last reported repairs that recur.
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

// isWhole reports whether it is a Secret with everything in it.
func (v version) isWhole() bool { return v.kind == secretKind && !v.deleted && v.damage == nil }

// is reports whether it is this version of the object.
func (v version) is(object metav1.Object) bool {
	return v.resourceVersion == object.GetResourceVersion()
}

// trusts reports whether a version holds one of the CAs.
func (v version) trusts(cas []string) bool {
	held := v.keyring.cas
	if v.kind == configKind {
		held = fingerprints(v.bundle)
	}
	return slices.ContainsFunc(held, func(ca string) bool { return slices.Contains(cas, ca) })
}

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

// recorder holds every version of a target's two objects.
type recorder struct {
	// stop ends the watches.
	stop context.CancelFunc
	// mu guards versions.
	mu       sync.Mutex
	versions []version
}

// record watches both objects until the suite ends, and returns when the present versions are known.
// After an outage of the apiserver it is called again: client-go waits up to half a minute before it
// watches again, and then sees the newest version alone.
func (t *target) record() error {
	if t.seen == nil {
		t.seen = &recorder{stop: func() {}}
	}
	t.seen.stop()
	ctx, stop := context.WithCancel(t.Ctx)
	t.seen.stop = stop
	secrets, configurations := t.Client.CoreV1().RESTClient(), t.Client.AdmissionregistrationV1().RESTClient()
	name := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	return errors.Join(
		t.watch(ctx, secretKind, &corev1.Secret{}, cache.NewListWatchFromClient(secrets, "secrets", t.namespace, name(t.secret))),
		t.watch(ctx, configKind, &admissionv1.MutatingWebhookConfiguration{},
			cache.NewListWatchFromClient(configurations, "mutatingwebhookconfigurations", "", name(t.configuration))),
	)
}

func (t *target) watch(ctx context.Context, kind string, object runtime.Object, watch cache.ListerWatcher) error {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { t.add(kind, obj, false) },
		UpdateFunc: func(_, obj any) { t.add(kind, obj, false) },
		DeleteFunc: func(obj any) { t.add(kind, obj, true) },
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{ListerWatcher: watch, ObjectType: object, Handler: handler})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("watch %s: %w", kind, ctx.Err())
	}
	return nil
}

func (t *target) add(kind string, obj any, deleted bool) {
	v := version{at: time.Now(), kind: kind, deleted: deleted}
	if object, err := meta.Accessor(obj); err == nil {
		v.by, v.resourceVersion = newestManager(object.GetManagedFields()), object.GetResourceVersion()
	}
	if secret, ok := obj.(*corev1.Secret); ok && !deleted {
		v.keyring, v.damage = inspect(secret.Data, t.dnsName())
		_ = json.Unmarshal([]byte(secret.Annotations[recordAnnotation]), &v.rotation) // none, or a damaged one, is generation 0
		v.request = secret.Annotations[requestAnnotation] != ""
		v.reported = secret.Annotations[reportAnnotation]
	}
	if config, ok := obj.(*admissionv1.MutatingWebhookConfiguration); ok && !deleted {
		v.bundle, v.none = string(t.bundleOf(config)), t.entry(config) == nil
	}
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	for _, newest := range slices.Backward(t.seen.versions) {
		if newest.kind == kind {
			if !deleted && !newest.deleted && newest.resourceVersion == v.resourceVersion {
				return // a new list repeats it
			}
			break
		}
	}
	t.seen.versions = append(t.seen.versions, v)
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

// since are the versions of a kind that were seen at or after t.
func (r *recorder) since(t time.Time, kind string) []version {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.versions), func(v version) bool { return v.kind != kind || v.at.Before(t) })
}

// signers is the number of changes of the signing CA since t.
func (r *recorder) signers(t time.Time) int {
	changes, last := 0, ""
	for _, v := range r.since(time.Time{}, secretKind) {
		if !v.isWhole() || v.keyring.signer == last {
			continue
		}
		if last != "" && !v.at.Before(t) {
			changes++
		}
		last = v.keyring.signer
	}
	return changes
}

// newest is the version of now; the zero version when there never was one.
func (r *recorder) newest(kind string) version {
	versions := r.since(time.Time{}, kind)
	if len(versions) == 0 {
		return version{}
	}
	return versions[len(versions)-1]
}

// signer is the one that signs now; empty when the Secret is not whole.
func (r *recorder) signer() string { return r.newest(secretKind).keyring.signer }

// await returns the first version of a kind at or after begin that is as wanted.
func (a *attempt) await(begin time.Time, limit time.Duration, kind, what string, wanted func(version) bool) version {
	a.t.Helper()
	var found version
	err := kit.Until(a.Ctx, limit, func(context.Context) error {
		versions := a.seen.since(begin, kind)
		i := slices.IndexFunc(versions, wanted)
		if i < 0 {
			return fmt.Errorf("not among %d versions, the newest is: %s", len(versions), a.seen.newest(kind))
		}
		found = versions[i]
		return nil
	})
	if err != nil {
		a.t.Fatalf("wait for %s: %v", what, err)
	}
	return found
}
