package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/rotator"
)

// options have flags that show which arguments were read.
func options() Options {
	return Options{
		Program: "v1.2.3", Namespace: "default", Now: func() time.Time { return now },
		ParseFlags: func(args []string) (Flags, error) {
			if slices.Contains(args, "--unknown") {
				return Flags{Policy: policy, AlertURLFile: alertURLFile}, errors.New("unknown flag: --unknown")
			}
			return Flags{Policy: policy, Events: slices.Equal(args, []string{"--events"}), CheckNodes: true, AlertURLFile: alertURLFile}, nil
		},
	}
}

// apiserver is a fake client to a cluster that the objects are in. It allows every right whose verb is not among denied, and its
// webhook sets the nodeSelector of the dry run.
func apiserver(objects []client.Object, denied ...string) *Cluster {
	allowed := func(a *authorizationv1.ResourceAttributes) bool {
		return a.Resource != "secrets" || a.Name == rotator.SecretName && !slices.Contains(denied, a.Verb)
	}
	phase := func(o client.Object) []string { return []string{string(o.(*corev1.Pod).Status.Phase)} }
	c := fake.NewClientBuilder().WithScheme(newScheme()).WithRESTMapper(newMapper()).WithObjects(objects...).WithIndex(&corev1.Pod{}, "status.phase", phase).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			switch o := o.(type) {
			case *authorizationv1.SubjectAccessReview:
				o.Status.Allowed = allowed(o.Spec.ResourceAttributes) && o.Spec.User == "system:serviceaccount:custom-system:sts-webhook"
				return nil
			case *authorizationv1.SelfSubjectAccessReview:
				o.Status.Allowed = !slices.Contains(denied, o.Spec.ResourceAttributes.Verb)
				return nil
			case *appsv1.StatefulSet:
				return denial("statefulsets", setsEntryName)
			case *corev1.Pod:
				o.Spec.NodeSelector = map[string]string{probeSet: probeValue}
			}
			return c.Create(ctx, o, opts...)
		}}).Build()
	return newCluster(c, func(_ context.Context, path string) ([]byte, error) {
		if path == "/version" {
			return []byte(`{"gitVersion": "v1.36.0"}`), nil
		}
		if strings.HasPrefix(path, "/api/v1/namespaces/custom-system/pods/") && strings.HasSuffix(path, ":9090/proxy/metrics") {
			return []byte("# TYPE\nsts_webhook_build_info{branch=\"\",goversion=\"go1\",version=\"v1.2.3\",zversion=\"\"} 1\n"), nil
		}
		return []byte(`{"resources": [{"name": "mutatingwebhookconfigurations"}, {"name": "validatingwebhookconfigurations"}]}`), nil
	}, time.Minute, time.Minute)
}

// objects are those of a healthy installation.
func objects(t *testing.T) []client.Object {
	t.Helper()
	s := healthy(t)
	s.Deployment.Value.ObjectMeta = metav1.ObjectMeta{Namespace: Namespace, Name: name}
	s.Deployment.Value.Spec.Template.Spec = corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: name, Args: []string{"serve", "--events"}, VolumeMounts: []corev1.VolumeMount{{Name: "dingtalk", MountPath: "/etc/sts-webhook/dingtalk"}},
		}},
		Volumes: []corev1.Volume{{
			Name: "dingtalk", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: manifestsAlertURL.Secret}},
		}},
	}
	s.Secret.Value.Data["ca.key"], s.Secret.Value.Data["tls.key"] = []byte("PRIVATE"), []byte("PRIVATE")
	s.Mutating.Value.Name, s.Validating.Value.Name = rotator.ConfigurationName, rotator.ValidatingConfigurationName
	alerts := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: manifestsAlertURL.Secret}, Data: map[string][]byte{"url": []byte("PRIVATE")}}
	all := []client.Object{s.Deployment.Value, s.Secret.Value, s.Mutating.Value, s.Validating.Value, alerts}
	for i := range s.Pods.Value {
		all = append(all, &s.Pods.Value[i])
	}
	return all
}

func TestSnapshotOfAHealthyInstallation(t *testing.T) {
	c := apiserver(objects(t))
	s := c.Snapshot(t.Context(), options())
	for _, r := range Make(s) {
		if r.Status != OK {
			t.Errorf("got %+v, want ok", r)
		}
	}
	if s.Versions.Err != nil || !slices.Equal(s.Versions.Value, []string{"v1.2.3"}) {
		t.Errorf("versions: got %q, %v, want v1.2.3 once", s.Versions.Value, s.Versions.Err)
	}
	if want := (Flags{Policy: policy, Events: true, CheckNodes: true, AlertURLFile: alertURLFile}); s.Flags.Value != want {
		t.Errorf("flags: got %+v, want those of the Deployment, %+v", s.Flags.Value, want)
	}
	if text := fmt.Sprintf("%+v", *s) + fmt.Sprint(s.Secret.Value.Data); strings.Contains(text, "PRIVATE") || len(s.Secret.Value.Data) != 2 {
		t.Error("the snapshot holds a key or the address of the robot")
	}
	var pods corev1.PodList
	if err := c.client.List(t.Context(), &pods, client.InNamespace("default")); err != nil || len(pods.Items) != 0 {
		t.Errorf("the dry run stored %d pods, %v", len(pods.Items), err)
	}
}

func TestSnapshotFindsTheGateAndWhoWaits(t *testing.T) {
	all := objects(t)
	for i, gates := range [][]corev1.PodSchedulingGate{{{Name: placement.Gate}}, {{Name: "other"}}, {{Name: placement.Gate}}} {
		all = append(all, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%d", i), Labels: map[string]string{placement.GateLabel: "placement"}},
			Spec:       corev1.PodSpec{SchedulingGates: gates}, Status: corev1.PodStatus{Phase: corev1.PodPending},
		})
	}
	role := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: gateName}}
	role.SetGroupVersionKind(gateObjects[6].GroupVersionKind)
	s := apiserver(append(all, role)).Snapshot(t.Context(), options())
	if s.Gate.Err != nil || !maps.Equal(s.Gate.Value, map[Object]bool{gateObjects[6]: true}) {
		t.Errorf("gate: got %v, %v, want its ClusterRole", s.Gate.Value, s.Gate.Err)
	}
	if s.Waiting.Err != nil || s.Waiting.Value != 2 {
		t.Errorf("waiting: got %d, %v, want 2", s.Waiting.Value, s.Waiting.Err)
	}
}

func TestSnapshotOfNothing(t *testing.T) {
	got := map[string]Status{}
	for _, r := range Make(apiserver(nil).Snapshot(t.Context(), options())) {
		got[r.Check] = r.Status
	}
	want := map[string]Status{ // the fake apiserver has a webhook all the same
		"version": Warning, "replicas": Problem, "trust": OK, "statefulsets": OK, "certificates": Problem, "caBundle": Problem, "rbac": Warning, "gate": OK, "alerts": OK,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses differ (-want +got):\n%s", diff)
	}
}

func TestSnapshotNamesDeniedRightsAndUnknownFlags(t *testing.T) {
	all := objects(t)
	all[0].(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Args = []string{"--unknown"}
	s := apiserver(all, "watch").Snapshot(t.Context(), options())
	want := rights(coreRightsFile, "", "secrets", Namespace, rotator.SecretName, "watch")
	if diff := cmp.Diff(want, s.Denied.Value); diff != "" || s.Denied.Err != nil {
		t.Errorf("denied, %v, differ (-want +got):\n%s", s.Denied.Err, diff)
	}
	if s.Flags.Err == nil || s.Flags.Value.Policy != policy {
		t.Errorf("flags: got %+v, %v, want the defaults and an error", s.Flags.Value, s.Flags.Err)
	}
}

func TestPreSnapshot(t *testing.T) {
	taken := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: rotator.ServiceName, Labels: map[string]string{"app": "other"}}}
	s := apiserver([]client.Object{taken}, "patch").PreSnapshot(t.Context())
	got := map[string]Status{}
	for _, r := range MakePre(s) {
		got[r.Check] = r.Status
	}
	if diff := cmp.Diff(map[string]Status{"server": OK, "api": OK, "names": Problem, "rights": Problem, "gate": OK}, got); diff != "" {
		t.Errorf("statuses differ (-want +got):\n%s", diff)
	}
	for _, r := range s.Denied.Value {
		if r.Verb != "patch" {
			t.Errorf("denied: got %v, want patch alone", r)
		}
	}
}

// connectTo is the Cluster of an apiserver that answers so.
func connectTo(t *testing.T, handler http.HandlerFunc) *Cluster {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c, err := Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnApiserverThatForbidsEverythingIsNoProblem(t *testing.T) {
	c := connectTo(t, func(w http.ResponseWriter, r *http.Request) {
		resource := "pods"
		if strings.HasSuffix(r.URL.Path, "/statefulsets") {
			resource = "statefulsets"
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		message := fmt.Sprintf(`forbidden: User "jane" cannot create resource %q in API group ""`, resource)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 403, Reason: "Forbidden", Message: message})
	})
	for _, r := range slices.Concat(Make(c.Snapshot(t.Context(), options())), MakePre(c.PreSnapshot(t.Context()))[2:]) {
		if r.Status != Warning || !strings.Contains(r.Message, "forbidden") {
			t.Errorf("got %+v, want a warning that says that it is forbidden", r)
		}
	}
}

func TestAnApiserverThatHangsIsNotWaitedFor(t *testing.T) {
	release := make(chan struct{})
	c := connectTo(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	t.Cleanup(func() { close(release) })
	c.timeouts.call, c.timeouts.dryRun = 50*time.Millisecond, 100*time.Millisecond
	begin := time.Now()
	if _, err := c.Reach(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reach: got %v, want %v", err, context.DeadlineExceeded)
	}
	results := slices.Concat(Make(c.Snapshot(t.Context(), options())), MakePre(c.PreSnapshot(t.Context())))
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v, want some tenths of a second", took)
	}
	for _, r := range results {
		if r.Status == OK {
			t.Errorf("got %+v, want no ok", r)
		}
	}
	if trust := results[2]; trust.Status != Problem {
		t.Errorf("got %+v, want a problem", trust)
	}
}

func TestConnectHasBounds(t *testing.T) {
	if callTimeout <= 0 || dryRunTimeout <= 5*time.Second || dryRunTimeout > 15*time.Second {
		t.Errorf("timeouts %v and %v: a dry run must last longer than the webhook's own timeout, and the whole not long", callTimeout, dryRunTimeout)
	}
	c, err := Connect(&rest.Config{Host: "http://localhost:1"})
	if err != nil || c.timeouts.call != callTimeout || c.timeouts.dryRun != dryRunTimeout {
		t.Fatalf("got %v, %v, want the timeouts", c, err)
	}
}
