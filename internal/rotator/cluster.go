package rotator

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// configuration names a webhook configuration whose caBundle we keep.
type configuration struct{ kind, name string }

// configurations are all of them. The first one, without which no pod is placed,
// decides whom we trust and what we serve. The others follow: their caBundles are
// written, and nothing else depends on them, not even on whether they exist.
var configurations = []configuration{
	{"MutatingWebhookConfiguration", ConfigurationName},
	{"ValidatingWebhookConfiguration", ValidatingConfigurationName},
}

func (c configuration) String() string { return c.kind + " " + c.name }

// object is unstructured, so that an update keeps fields that this build does not know.
func (c configuration) object() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind(c.kind))
	u.SetName(c.name)
	return u
}

// entry is one webhook of a configuration that calls our Service.
type entry struct {
	clientConfig map[string]any // inside the configuration
	bundle       []byte         // nil too when it is not base64
}

// entriesOf leaves entries of other Services alone: a second installation under the
// same configuration name would otherwise fight over every caBundle.
func entriesOf(config *unstructured.Unstructured, namespace string) []entry {
	if config == nil {
		return nil
	}
	var entries []entry
	webhooks, _ := config.Object["webhooks"].([]any)
	for _, w := range webhooks {
		webhook, _ := w.(map[string]any)
		clientConfig, _ := webhook["clientConfig"].(map[string]any)
		service, _ := clientConfig["service"].(map[string]any)
		if service["name"] != ServiceName || service["namespace"] != namespace {
			continue
		}
		text, _ := clientConfig["caBundle"].(string)
		bundle, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			bundle = nil
		}
		entries = append(entries, entry{clientConfig, bundle})
	}
	return entries
}

// observation is what the cluster holds. It is read only.
type observation struct {
	live    bool           // read from the apiserver, not from a cache
	secret  *corev1.Secret // nil: there is none
	configs []*unstructured.Unstructured
	// unread says why a configuration that only follows could not be read, by its index.
	unread map[int]error
}

// cluster reads and writes the objects that are ours.
type cluster struct {
	namespace    string
	live, cached client.Reader
	writer       client.Client
	synced       func() bool // whether cached may be read
}

// observe reads every object; the Secret last, so that an update of a configuration
// that was read conflicts if it was made to fit a later Secret than the one seen.
// The error names the object that could not be read; configurations that only
// follow are not worth one.
func (c *cluster) observe(ctx context.Context, live bool) (observation, error) {
	from := c.cached
	if live = live || !c.synced(); live {
		from = c.live
	}
	seen := observation{live: live, unread: map[int]error{}}
	for i, name := range configurations {
		config := name.object()
		err := from.Get(ctx, client.ObjectKeyFromObject(config), config)
		if err != nil {
			config, err = nil, client.IgnoreNotFound(err)
		}
		switch {
		case err == nil:
		case i == 0:
			return seen, fmt.Errorf("get %s: %w", name, err)
		default:
			seen.unread[i] = fmt.Errorf("get %s: %w", name, err)
		}
		seen.configs = append(seen.configs, config)
	}
	secret := &corev1.Secret{}
	switch err := from.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: SecretName}, secret); {
	case err == nil:
		seen.secret = secret
	case !apierrors.IsNotFound(err):
		return seen, fmt.Errorf("get Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	return seen, nil
}

// entries are the webhooks of the first configuration that call our Service.
func (o observation) entries(namespace string) []entry { return entriesOf(o.configs[0], namespace) }

// bundle is the caBundle by which the apiserver verifies us for pods: of several
// webhooks, that of the first.
func (o observation) bundle(namespace string) []byte {
	for _, e := range o.entries(namespace) {
		return e.bundle
	}
	return nil
}

// createSecret makes an empty Secret. Server-side apply is used because, unlike
// POST, it names the object in the URL: RBAC can then limit the right to create to
// this one name. A Secret that somebody else has just made is returned as it is.
func (c *cluster) createSecret(ctx context.Context) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: SecretName}}
	body := fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":%q,"name":%q,"labels":{"app":%q,"app.kubernetes.io/name":%q}},"type":"Opaque"}`,
		c.namespace, SecretName, ServiceName, ServiceName)
	err := c.writer.Patch(ctx, secret, client.RawPatch(types.ApplyPatchType, body), client.FieldOwner(fieldOwner+"-create"), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("create Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	return secret, nil
}

// updateSecret makes the Secret hold k, if it still is the version given, and
// takes the request that k carried out from it.
func (c *cluster) updateSecret(ctx context.Context, secret *corev1.Secret, k *keyring) error {
	updated := secret.DeepCopy()
	k.fill(updated)
	if q, err := parseRequest(updated.Annotations[requestAnnotation]); err == nil && q.ID == k.record.Request {
		delete(updated.Annotations, requestAnnotation)
	}
	return c.update(ctx, updated, secret)
}

// update writes the changed copy of secret, and makes secret what is stored now.
func (c *cluster) update(ctx context.Context, changed, secret *corev1.Secret) error {
	if err := c.writer.Update(ctx, changed, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("update Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	*secret = *changed
	return nil
}

// updateBundles makes our entries of config hold bundle, if config still is the
// version given, and makes config what is stored now.
func (c *cluster) updateBundles(ctx context.Context, config *unstructured.Unstructured, bundle []byte) error {
	updated := config.DeepCopy()
	for _, e := range entriesOf(updated, c.namespace) {
		e.clientConfig["caBundle"] = base64.StdEncoding.EncodeToString(bundle)
	}
	if err := c.writer.Update(ctx, updated, client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("update %s %s: %w", config.GetKind(), config.GetName(), err)
	}
	*config = *updated
	return nil
}

// dateResolution is what a Date header cannot tell (RFC 9110, section 5.6.7:
// whole seconds) plus an ordinary round trip.
const dateResolution = 2 * time.Second

// serverClock is the apiserver's time: the apiserver checks every certificate by it,
// so certificates are made by it, too.
type serverClock struct {
	local func() time.Time
	skew  atomic.Int64 // local minus apiserver, in nanoseconds; 0 until known
}

// Skew is how far the local clock is ahead of the apiserver's, zero when the
// difference is within the resolution of the measurement.
func (c *serverClock) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// Now is the apiserver's time.
func (c *serverClock) Now() time.Time { return c.local().Add(-c.Skew()) }

// maxSkew is how wrong a node's clock may be before it is reported.
const maxSkew = 5 * time.Minute

// problem is an error while the local clock is wrong.
func (c *serverClock) problem() error {
	skew := c.Skew()
	if skew.Abs() <= maxSkew {
		return nil
	}
	return fmt.Errorf("it differs from the apiserver's by %s; certificates are made by the apiserver's; set the node's time right", skew.Round(time.Second))
}

// learn takes the Date header of an answer that was asked for and received at
// these local times; the apiserver wrote it somewhere between.
func (c *serverClock) learn(date string, sent, received time.Time) {
	server, err := http.ParseTime(date)
	if err != nil {
		return
	}
	switch {
	case server.Before(sent.Add(-dateResolution)):
		c.skew.Store(int64(sent.Sub(server)))
	case server.After(received.Add(dateResolution)):
		c.skew.Store(int64(received.Sub(server)))
	default:
		c.skew.Store(0)
	}
}

// wrap lets the clock see every answer's Date header.
func (c *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		sent := c.local()
		resp, err := next.RoundTrip(r)
		if err == nil {
			c.learn(resp.Header.Get("Date"), sent, c.local())
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watches counts the watches of our objects that are under way.
type watches struct {
	open    atomic.Int64
	ended   atomic.Int64 // when the last one ended, Unix nanoseconds
	changed func()
	now     func() time.Time
}

// wrap sees each watch begin, by its answer, and end, by the end of its body.
func (w *watches) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		ours := strings.HasSuffix(r.URL.Path, "/secrets") || strings.HasSuffix(r.URL.Path, "webhookconfigurations")
		if err == nil && ours && resp.StatusCode == http.StatusOK && r.URL.Query().Has("watch") {
			w.open.Add(1)
			resp.Body = &watchBody{ReadCloser: resp.Body, ended: sync.OnceFunc(func() {
				w.open.Add(-1)
				w.ended.Store(w.now().UnixNano())
				w.changed()
			})}
		}
		return resp, err
	})
}

// watchBody says when a watch ends.
type watchBody struct {
	io.ReadCloser
	ended func()
}

func (b *watchBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended()
	}
	return n, err
}

func (b *watchBody) Close() error {
	b.ended()
	return b.ReadCloser.Close()
}
