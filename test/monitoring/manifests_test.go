package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// operator holds the definitions of PrometheusRule, PodMonitor and ServiceMonitor as files. Nothing of it is compiled.
const operator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// monitor is what PodMonitor and ServiceMonitor have in common.
type monitor struct {
	Kind string `json:"kind"`
	Spec struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []endpoint           `json:"endpoints"`
		Pods      []endpoint           `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

type endpoint struct {
	Port string `json:"port"`
}

// testManifests has the apiserver check the manifests by the operator's own definitions, which refuse unknown fields, and follows
// the selectors of the monitors to the replicas.
func (s *suite) testManifests(t *testing.T) {
	download := exec.CommandContext(s.Ctx, "go", "mod", "download", "-json", operator)
	download.Dir = t.TempDir() // outside a module
	out, err := download.Output()
	kit.Must(t, err)
	var module struct{ Dir string }
	kit.Must(t, json.Unmarshal(out, &module))
	for _, kind := range []string{"prometheusrules", "podmonitors", "servicemonitors"} {
		file := filepath.Join(module.Dir, "example/prometheus-operator-crd/monitoring.coreos.com_"+kind+".yaml")
		s.Kubectl(t, "apply", "--server-side", "-f", file)
		s.Kubectl(t, "wait", "--for=condition=Established", "crd/"+kind+".monitoring.coreos.com", "--timeout=30s")
	}
	for _, dir := range []string{"manifests/optional/monitoring", "manifests/optional/service-monitor"} {
		s.Eventually(t, waitTimeout, func() error { // kubectl may not have discovered the definitions yet
			_, err := s.Cluster.Kubectl(s.Ctx, "apply", "--validate=strict", "-f", s.Path(dir))
			return err
		})
	}
	s.followPodMonitor(t)
	s.followServiceMonitor(t)
}

func (s *suite) followPodMonitor(t *testing.T) {
	m := readMonitor(t, s.Path("manifests/optional/monitoring/pod-monitor.yaml"), "PodMonitor")
	pods, err := s.Client.CoreV1().Pods(webhook.Namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&m.Spec.Selector)})
	kit.Must(t, err)
	if len(pods.Items) != 2 {
		t.Errorf("the PodMonitor selects %d pods, want 2", len(pods.Items))
	}
	for _, pod := range pods.Items {
		port := corev1.ContainerPort{Name: m.Spec.Pods[0].Port, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}
		if got := pod.Spec.Containers[0].Ports; !slices.Contains(got, port) {
			t.Errorf("%s has the ports %+v, want %+v among them", pod.Name, got, port)
		}
	}
}

func (s *suite) followServiceMonitor(t *testing.T) {
	m := readMonitor(t, s.Path("manifests/optional/service-monitor/service-monitor.yaml"), "ServiceMonitor")
	services, err := s.Client.CoreV1().Services(webhook.Namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&m.Spec.Selector)})
	kit.Must(t, err)
	if len(services.Items) != 1 || services.Items[0].Spec.Ports[0].Name != m.Spec.Endpoints[0].Port {
		t.Fatalf("the ServiceMonitor selects %+v, want one Service with a port %s", services.Items, m.Spec.Endpoints[0].Port)
	}
	s.Eventually(t, waitTimeout, func() error {
		slices, err := s.Client.DiscoveryV1().EndpointSlices(webhook.Namespace).List(s.Ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + services.Items[0].Name})
		if err == nil && (len(slices.Items) != 1 || len(slices.Items[0].Endpoints) != 2 || *slices.Items[0].Ports[0].Port != 8080) {
			err = fmt.Errorf("got the endpoints %+v, want 2 with port 8080", slices.Items)
		}
		return err
	})
}

func readMonitor(t *testing.T, file, kind string) monitor {
	t.Helper()
	for _, part := range strings.Split(string(read(t, file)), "\n---\n") {
		var m monitor
		if kit.Must(t, yaml.Unmarshal([]byte(part), &m)); m.Kind == kind {
			return m
		}
	}
	t.Fatalf("%s has no %s", file, kind)
	return monitor{}
}

// testFlowSchema reads in the apiserver's answers and metrics by which FlowSchema it classified requests of the service account.
func (s *suite) testFlowSchema(t *testing.T) {
	schema, err := s.Client.FlowcontrolV1().FlowSchemas().Get(s.Ctx, "sts-webhook", metav1.GetOptions{})
	kit.Must(t, err)
	if got := s.classifiedBy(t, webhook.Namespace, "sts-webhook"); got != string(schema.UID) {
		t.Errorf("a request of the service account was classified by %s, want %s", got, schema.UID)
	}
	if got := s.classifiedBy(t, webhook.Namespace, "default"); got == string(schema.UID) || got == "" {
		t.Errorf("a request of another service account was classified by %q, want another FlowSchema than %s", got, schema.UID)
	}
	// The replicas' own requests.
	const counter = `apiserver_flowcontrol_dispatched_requests_total{flow_schema="sts-webhook",priority_level="workload-high"} `
	_, after, found := strings.Cut(s.Kubectl(t, "get", "--raw", "/metrics"), counter)
	if n, _, _ := strings.Cut(after, "\n"); !found || n == "0" {
		t.Errorf("the apiserver's metrics: got %q for %s, want some requests", n, counter)
	} else {
		s.Remark("the apiserver classified %s requests by the FlowSchema", n)
	}
	s.Kubectl(t, "delete", "-f", s.Path("manifests/optional/flow-schema"))
	s.Eventually(t, waitTimeout, func() error {
		if got := s.classifiedBy(t, webhook.Namespace, "sts-webhook"); got == string(schema.UID) {
			return fmt.Errorf("still classified by %s, which was deleted", got)
		}
		return nil
	})
}

// classifiedBy makes a request as a service account and returns the UID of the FlowSchema that the apiserver used for it.
func (s *suite) classifiedBy(t *testing.T, namespace, account string) string {
	t.Helper()
	token, err := s.Client.CoreV1().ServiceAccounts(namespace).CreateToken(s.Ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	kit.Must(t, err)
	config := rest.CopyConfig(s.Cluster.RESTConfig())
	config.CertFile, config.KeyFile, config.BearerToken = "", "", token.Status.Token
	client, err := rest.HTTPClientFor(config)
	kit.Must(t, err)
	request, err := http.NewRequestWithContext(s.Ctx, http.MethodGet, config.Host+"/api/v1/namespaces/"+namespace+"/secrets/"+webhook.Secret, nil)
	kit.Must(t, err)
	response, err := client.Do(request)
	kit.Must(t, err)
	defer response.Body.Close()
	return response.Header.Get("X-Kubernetes-PF-FlowSchema-UID")
}
