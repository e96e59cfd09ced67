package rotator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// apiServer is a kube-apiserver in memory, as far as the rotator's client, cache and
// watches can tell. Each client reaches it by a link, which is an http.RoundTripper.
// It sleeps and waits by timers and channels alone, so it works inside a synctest bubble.
type apiServer struct {
	t         *testing.T
	offset    time.Duration    // of its clock
	onVersion func(*version)   // called without the lock after each change
	mu        sync.Mutex       // guards what follows
	log       []*version       // every version of every object, the oldest first
	current   map[string]int   // index in log by path; absent: no such object
	owners    map[string]owner // of each field, by path and field
	streams   map[*stream]bool
}

// version is one state of one object.
type version struct {
	number int64
	at     time.Time
	until  time.Time // when the next one replaced it; zero: it is the current one
	path   string
	event  string // ADDED, MODIFIED or DELETED
	json   []byte
	writer string      // the name of the link; empty for the test itself
	exempt atomic.Bool // the test damaged it: nobody has to be trusted by it
}

type owner struct {
	manager string
	at      time.Time
}

const (
	secretsPath    = "/api/v1/namespaces/test/secrets"
	configsPath    = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
	validatingPath = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
	secretPath     = secretsPath + "/" + SecretName
	configPath     = configsPath + "/" + ConfigurationName
	followerPath   = validatingPath + "/" + ValidatingConfigurationName
)

// kinds of the objects below each path.
var kinds = map[string]schema.GroupVersionKind{
	secretsPath:    {Version: "v1", Kind: "Secret"},
	configsPath:    {Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
	validatingPath: {Group: "admissionregistration.k8s.io", Version: "v1", Kind: "ValidatingWebhookConfiguration"},
}

func newAPIServer(t *testing.T) *apiServer {
	return &apiServer{t: t, current: map[string]int{}, owners: map[string]owner{}, streams: map[*stream]bool{}}
}

func (a *apiServer) now() time.Time { return time.Now().Add(a.offset) }

// serve answers one request that is no watch.
func (a *apiServer) serve(req *http.Request, writer string) *http.Response {
	collection, name := req.URL.Path, ""
	if _, ok := kinds[collection]; !ok {
		collection, name = path.Dir(req.URL.Path), path.Base(req.URL.Path)
	}
	if _, ok := kinds[collection]; !ok {
		a.t.Errorf("apiserver: unexpected %s %s", req.Method, req.URL)
		return answer(http.StatusNotFound, map[string]any{"kind": "Status", "code": 404})
	}
	var body map[string]any
	if req.Body != nil {
		raw, err := io.ReadAll(req.Body)
		if err == nil && len(raw) > 0 {
			err = json.Unmarshal(raw, &body)
		}
		if err != nil {
			a.t.Errorf("apiserver: body of %s %s: %v", req.Method, req.URL, err)
		}
	}
	manager := req.URL.Query().Get("fieldManager")
	switch req.Method {
	case http.MethodGet:
		if name == "" {
			return a.list(req, collection)
		}
		return a.get(req)
	case http.MethodPut:
		return a.write(req.URL.Path, manager, writer, func(map[string]any) map[string]any { return body })
	case http.MethodPatch:
		apply := strings.HasPrefix(req.Header.Get("Content-Type"), "application/apply-patch")
		return a.write(req.URL.Path, manager, writer, func(old map[string]any) map[string]any {
			if old == nil && !apply {
				return nil
			}
			return merge(old, body)
		})
	}
	a.t.Errorf("apiserver: unexpected %s %s", req.Method, req.URL)
	return answer(http.StatusMethodNotAllowed, nil)
}

func (a *apiServer) get(req *http.Request) *http.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.current[req.URL.Path]
	if !ok {
		return failure(apierrors.NewNotFound(resource(req.URL.Path), path.Base(req.URL.Path)))
	}
	obj := decode(a.log[i].json)
	if strings.Contains(req.Header.Get("Accept"), "as=PartialObjectMetadata") {
		obj = map[string]any{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
	}
	return answer(http.StatusOK, obj)
}

func (a *apiServer) list(req *http.Request, collection string) *http.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	items := []any{}
	if i, ok := a.current[collection+"/"+selected(req)]; ok {
		items = append(items, decode(a.log[i].json))
	}
	gvk := kinds[collection]
	return answer(http.StatusOK, map[string]any{
		"kind": gvk.Kind + "List", "apiVersion": gvk.GroupVersion().String(),
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(len(a.log))}, "items": items,
	})
}

// selected is the one name that a list or watch asks for: RBAC allows no other.
func selected(req *http.Request) string {
	name, _ := strings.CutPrefix(req.URL.Query().Get("fieldSelector"), "metadata.name=")
	return name
}

// write replaces an object by what change makes of it, unless it is another version
// than the one that change names. It answers as the apiserver would.
func (a *apiServer) write(path, manager, writer string, change func(old map[string]any) map[string]any) *http.Response {
	next, resp := a.store(path, manager, writer, false, change)
	if next != nil && a.onVersion != nil {
		a.onVersion(next)
	}
	return resp
}

func (a *apiServer) store(key, manager, writer string, exempt bool, change func(old map[string]any) map[string]any) (*version, *http.Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, exists := a.current[key]
	var old map[string]any
	if exists {
		old = decode(a.log[i].json)
	}
	obj := change(decode(encodeJSON(old)))
	meta, _ := obj["metadata"].(map[string]any)
	switch wanted, _ := meta["resourceVersion"].(string); {
	case obj == nil, wanted != "" && !exists:
		return nil, failure(apierrors.NewNotFound(resource(key), path.Base(key)))
	case wanted != "" && wanted != strconv.FormatInt(a.log[i].number, 10):
		return nil, failure(apierrors.NewConflict(resource(key), path.Base(key), fmt.Errorf("the object has been modified")))
	case old["immutable"] == true && !bytes.Equal(encodeJSON(old["data"]), encodeJSON(obj["data"])):
		return nil, failure(apierrors.NewInvalid(kinds[path.Dir(key)].GroupKind(), path.Base(key), nil))
	}
	oldMeta, _ := old["metadata"].(map[string]any)
	meta["resourceVersion"], meta["managedFields"] = oldMeta["resourceVersion"], oldMeta["managedFields"]
	if exists && bytes.Equal(encodeJSON(old), encodeJSON(obj)) {
		return nil, answer(http.StatusOK, old) // nothing changes, so there is no new version
	}
	next := &version{number: int64(len(a.log) + 1), at: a.now(), path: key, event: "ADDED", writer: writer}
	next.exempt.Store(exempt)
	meta["resourceVersion"] = strconv.FormatInt(next.number, 10)
	meta["managedFields"] = a.own(key, manager, old, obj)
	next.json = encodeJSON(obj)
	if exists {
		a.log[i].until, next.event = next.at, "MODIFIED"
	}
	a.append(next)
	return next, answer(http.StatusOK, obj)
}

// append adds a version and wakes the watches. The lock is held.
func (a *apiServer) append(v *version) {
	a.log = append(a.log, v)
	a.current[v.path] = len(a.log) - 1
	for s := range a.streams {
		s.wake()
	}
}

// own notes who changed which field, and returns managedFields.
func (a *apiServer) own(key, manager string, old, obj map[string]any) []any {
	before, after := fieldsOf(old), fieldsOf(obj)
	for field := range before {
		if _, stays := after[field]; !stays {
			delete(a.owners, key+" "+field)
		}
	}
	trees, times := map[string]map[string]any{}, map[string]time.Time{}
	for field, value := range after {
		if before[field] != value {
			a.owners[key+" "+field] = owner{manager, a.now()}
		}
		o := a.owners[key+" "+field]
		if trees[o.manager] == nil {
			trees[o.manager] = map[string]any{}
		}
		times[o.manager] = later(times[o.manager], o.at)
		tree := trees[o.manager]
		for _, part := range strings.Split(field, "|") {
			if tree[part] == nil {
				tree[part] = map[string]any{}
			}
			tree = tree[part].(map[string]any)
		}
	}
	var entries []any
	for _, manager := range slices.Sorted(maps.Keys(trees)) {
		entries = append(entries, map[string]any{
			"manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
			"time": times[manager].UTC().Format(time.RFC3339), "fieldsV1": trees[manager],
		})
	}
	return entries
}

// fieldsOf lists the fields that somebody may own, with their values.
func fieldsOf(obj map[string]any) map[string]string {
	fields := map[string]string{}
	data, _ := obj["data"].(map[string]any)
	for k, v := range data {
		fields["f:data|f:"+k] = fmt.Sprint(v)
	}
	meta, _ := obj["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	for k, v := range annotations {
		fields["f:metadata|f:annotations|f:"+k] = fmt.Sprint(v)
	}
	webhooks, _ := obj["webhooks"].([]any)
	for _, w := range webhooks {
		webhook := w.(map[string]any)
		config, _ := webhook["clientConfig"].(map[string]any)
		if bundle, ok := config["caBundle"]; ok {
			fields[fmt.Sprintf(`f:webhooks|k:{"name":%q}|f:clientConfig|f:caBundle`, webhook["name"])] = fmt.Sprint(bundle)
		}
	}
	return fields
}
