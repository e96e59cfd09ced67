package cluster_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

const probeImage = "sts-webhook-test/probe:1"

// smoke is a cluster with a StatefulSet, probe, of six pods, spread over all nodes, and its Service.
type smoke struct {
	*kit.Suite
	pods    []corev1.Pod
	service string // its address
}

func TestClusterRunsPods(t *testing.T) {
	name := testName(t, "smoke")
	needCluster(t)
	t.Cleanup(func() { expectNothingLeft(t, name) })
	s := &smoke{Suite: kit.Start(t, kit.Options{
		Name: "smoke", Timeout: timeout, Fresh: true, Programs: map[string]string{probeImage: "test/cluster/probe"},
	})}
	begin := time.Now()
	s.createPods(t)
	s.pods = s.ready(t, func(corev1.Pod) bool { return true })
	t.Logf("6 pods Ready %.1f s after they were created", time.Since(begin).Seconds())
	for _, node := range s.Cluster.Nodes() { // kube-proxy hears of Ready pods a moment later
		s.Eventually(t, 10*time.Second, func() error {
			_, err := s.get(node, s.service+"/hostname", 10*time.Second)
			return err
		})
	}
	kit.Run(t, s, []kit.Chapter[*smoke]{
		{Name: "pods run on every node", Run: (*smoke).testSpread},
		{Name: "every node reaches every pod and the Service", Run: (*smoke).testNodes},
		{Name: "every pod reaches the Service, itself included", Run: (*smoke).testService},
		{Name: "every pod reaches the API with its service account", Run: (*smoke).testAccount},
		{Name: "kubectl logs and exec work on every node", Run: (*smoke).testKubectl},
		{Name: "a pod reaches a listener of the test", Run: (*smoke).testListener},
		{Name: "the machine sees no mount of the nodes", Run: (*smoke).testMounts},
		{Name: "a second Up finds it running", Run: (*smoke).testSecondUp},
		{Name: "the apiserver stops and starts", Run: (*smoke).testAPIServer},
		{Name: "a node without power goes dark and comes back with its pods", Run: (*smoke).testPower},
		{Name: "another cluster comes and goes beside it", Run: (*smoke).testBeside},
	})
}

// createPods creates the StatefulSet and its Service. Its readiness probe makes "Ready" say
// that the kubelet reaches the pod.
func (s *smoke) createPods(t *testing.T) {
	port := intstr.FromInt32(8080)
	set := kit.StatefulSet("probe", 6, kit.ByParity)
	pod := &set.Spec.Template.Spec
	pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: set.Spec.Selector,
	}}
	pod.Containers[0].Image = probeImage
	pod.Containers[0].ReadinessProbe = &corev1.Probe{
		PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/hostname", Port: port}},
	}
	_, err := s.Client.AppsV1().StatefulSets("default").Create(s.Ctx, set, metav1.CreateOptions{})
	kit.Must(t, err)
	service, err := s.Client.CoreV1().Services("default").Create(s.Ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec:       corev1.ServiceSpec{Selector: set.Spec.Selector.MatchLabels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: port}}},
	}, metav1.CreateOptions{})
	kit.Must(t, err)
	s.service = "http://" + service.Spec.ClusterIP
}

// ready waits for the six pods to be Ready and as wanted.
func (s *smoke) ready(t *testing.T, wanted func(corev1.Pod) bool) []corev1.Pod {
	t.Helper()
	var list *corev1.PodList
	err := kit.Until(s.Ctx, 2*time.Minute, func(ctx context.Context) (err error) {
		if list, err = s.Client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: kit.SetLabel + "=probe"}); err != nil {
			return err
		}
		good := 0
		for _, pod := range list.Items {
			if containers := pod.Status.ContainerStatuses; kit.Ready(pod) && len(containers) == 1 && containers[0].Ready && wanted(pod) {
				good++
			}
		}
		if good != 6 {
			return fmt.Errorf("%d pods are Ready and as wanted, want 6", good)
		}
		return nil
	})
	if err != nil {
		out, _ := s.Cluster.Kubectl(context.Background(), "describe", "pods")
		t.Fatalf("wait for pods: %v\n%s", err, out)
	}
	return list.Items
}

// get fetches a URL from a node.
func (s *smoke) get(node, url string, limit time.Duration) (string, error) {
	client := http.Client{Timeout: limit, Transport: &http.Transport{DialContext: s.Cluster.Dialer(node), DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// anyPod matches the names of the pods.
const anyPod = "probe-[0-5]"

// expect fetches a URL from a node and compares all that comes with a pattern.
func (s *smoke) expect(t *testing.T, node, url, want string) {
	t.Helper()
	got, err := s.get(node, url, 10*time.Second)
	if matched, _ := regexp.MatchString("^"+want+"$", got); err != nil || !matched {
		t.Errorf("%s from %s: got %q, %v, want %q", url, node, got, err, want)
	}
}

// on is a URL of the program in a pod.
func on(pod corev1.Pod, path string) string { return "http://" + pod.Status.PodIP + ":8080" + path }

func (s *smoke) testSpread(t *testing.T) {
	used := map[string]int{}
	for _, pod := range s.pods {
		used[pod.Spec.NodeName]++
	}
	if want := map[string]int{"node-1": 2, "node-2": 2, "node-3": 2}; !maps.Equal(used, want) {
		t.Errorf("pods per node: got %v, want %v", used, want)
	}
}

func (s *smoke) testNodes(t *testing.T) {
	for _, node := range s.Cluster.Nodes() {
		for _, pod := range s.pods {
			s.expect(t, node, on(pod, "/hostname"), pod.Name)
		}
		s.expect(t, node, s.service+"/hostname", anyPod)
	}
}

func (s *smoke) testService(t *testing.T) {
	for _, pod := range s.pods {
		// The nftables rules choose an endpoint at random: enough calls to meet all six.
		for range 20 {
			s.expect(t, "node-1", on(pod, "/get?url="+url.QueryEscape(s.service+"/hostname")), anyPod)
			if t.Failed() {
				return
			}
		}
	}
}

func (s *smoke) testAccount(t *testing.T) {
	for _, pod := range s.pods {
		s.expect(t, "node-1", on(pod, "/whoami"), "system:serviceaccount:default:default")
	}
}

func (s *smoke) testKubectl(t *testing.T) {
	for _, pod := range s.pods {
		if out := s.Kubectl(t, "logs", pod.Name); out != "probe is serving\n" {
			t.Errorf("logs of %s: got %q", pod.Name, out)
		}
		if out := s.Kubectl(t, "exec", pod.Name, "--", "/program", "hello"); out != "hello\n" {
			t.Errorf("exec in %s: got %q", pod.Name, out)
		}
	}
}

func (s *smoke) testListener(t *testing.T) {
	listener, err := s.Cluster.Listen("node-1", "tcp", s.Cluster.NodeIP("node-1")+":0")
	kit.Must(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "from the test")
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	s.expect(t, "node-1", on(s.pods[0], "/get?url="+url.QueryEscape("http://"+listener.Addr().String())), "from the test")
}

func (s *smoke) testMounts(t *testing.T) {
	expectNoMounts(t, filepath.Join(stateRoot, s.Cluster.Name()))
}

func (s *smoke) testSecondUp(t *testing.T) {
	expectFound(s.Ctx, t, s.Cluster.Name(), s.Cluster.Daemons())
}

func (s *smoke) testAPIServer(t *testing.T) {
	kit.Must(t, s.Cluster.KillDaemon(s.Ctx, cluster.APIServer))
	if out, err := s.Cluster.Kubectl(s.Ctx, "get", "nodes", "--request-timeout=2s"); err == nil {
		t.Errorf("kubectl without an apiserver: got %q, want an error", out)
	}
	kit.Must(t, s.Cluster.StartDaemon(s.Ctx, cluster.APIServer))
	s.Kubectl(t, "get", "nodes")
}

func (s *smoke) testPower(t *testing.T) {
	const node = "node-3"
	kit.Must(t, s.Cluster.StopNode(s.Ctx, node))
	for _, pod := range s.pods {
		_, err := s.get("node-1", on(pod, "/hostname"), 500*time.Millisecond)
		if dark := err != nil; dark != (pod.Spec.NodeName == node) {
			t.Errorf("%s on %s while %s is off: %v", pod.Name, pod.Spec.NodeName, node, err)
		}
	}
	kit.Must(t, s.Cluster.StartNode(s.Ctx, node))
	for _, pod := range s.ready(t, func(pod corev1.Pod) bool {
		return pod.Spec.NodeName != node || pod.Status.ContainerStatuses[0].RestartCount > 0
	}) {
		s.expect(t, "node-2", on(pod, "/hostname"), pod.Name)
	}
}

func (s *smoke) testBeside(t *testing.T) {
	before, name := s.Cluster.Daemons(), testName(t, "beside")
	t.Run("it is empty", func(t *testing.T) {
		out, err := bringUp(s.Ctx, t, name).Kubectl(s.Ctx, "get", "statefulsets", "--no-headers")
		if err != nil || strings.Contains(out, "probe") {
			t.Errorf("StatefulSets of the second cluster: got %q, %v; want none", out, err)
		}
	})
	expectFound(s.Ctx, t, s.Cluster.Name(), before)
	s.ready(t, func(corev1.Pod) bool { return true })
}
