package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const probeImage = "sts-webhook-test/probe:1"

// probePods is a StatefulSet spread over all nodes, with a Service. Its readiness
// probe makes "Ready" say that the kubelet reaches the pod.
const probePods = `
apiVersion: v1
kind: Service
metadata: {name: probe}
spec: {selector: {app: probe}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: probe}
spec:
  replicas: 6
  serviceName: probe
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: probe}}}
      containers:
      - name: probe
        image: ` + probeImage + `
        imagePullPolicy: Never
        readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
`

func TestClusterRunsPods(t *testing.T) {
	ctx := needCluster(t)
	c := bringUp(ctx, t, testName(t, "smoke"), 3)
	archive := filepath.Join(t.TempDir(), "probe.tar")
	if err := BuildProgramImage(ctx, probeImage, "test/cluster/probe", archive); err != nil {
		t.Fatal(err)
	}
	if err := c.LoadImage(ctx, archive); err != nil {
		t.Fatal(err)
	}
	if out, err := run(ctx, probePods, c.KubectlCommand()[0], c.KubectlCommand("apply", "-f", "-")[1:]...); err != nil {
		t.Fatal(out, err)
	}
	begin := time.Now()
	pods := waitPods(ctx, t, c, func(corev1.Pod) bool { return true })
	t.Logf("6 pods Ready %.1f s after kubectl apply", time.Since(begin).Seconds())
	service := serviceIP(ctx, t, c)

	t.Run("pods run on every node", func(t *testing.T) {
		used := map[string]int{}
		for _, pod := range pods {
			used[pod.Spec.NodeName]++
		}
		if want := map[string]int{"node-1": 2, "node-2": 2, "node-3": 2}; fmt.Sprint(used) != fmt.Sprint(want) {
			t.Errorf("pods per node: got %v, want %v", used, want)
		}
	})
	t.Run("every node reaches every pod and the Service", func(t *testing.T) {
		for _, node := range c.Nodes() {
			for _, pod := range pods {
				expectAnswer(ctx, t, c, node, "http://"+pod.Status.PodIP+":8080/hostname", pod.Name)
			}
			if got := fetch(ctx, t, c, node, "http://"+service+"/hostname"); !strings.HasPrefix(got, "probe-") {
				t.Errorf("Service from %s: got %q, want a pod's name", node, got)
			}
		}
	})
	t.Run("every pod reaches the Service, itself included", func(t *testing.T) {
		for _, pod := range pods {
			// The nftables rules choose an endpoint at random: enough calls to meet all six.
			for range 20 {
				target := "http://" + pod.Status.PodIP + ":8080/get?url=" + url.QueryEscape("http://"+service+"/hostname")
				if got := fetch(ctx, t, c, "node-1", target); !strings.HasPrefix(got, "probe-") {
					t.Fatalf("Service from %s: got %q, want a pod's name", pod.Name, got)
				}
			}
		}
	})
	t.Run("every pod reaches the API with its service account", func(t *testing.T) {
		for _, pod := range pods {
			expectAnswer(ctx, t, c, "node-1", "http://"+pod.Status.PodIP+":8080/whoami", "system:serviceaccount:default:default")
		}
	})
	t.Run("kubectl logs and exec work on every node", func(t *testing.T) {
		for _, pod := range pods {
			if out, err := c.Kubectl(ctx, "logs", pod.Name); err != nil || out != "probe is serving\n" {
				t.Errorf("logs of %s: got %q, %v", pod.Name, out, err)
			}
			if out, err := c.Kubectl(ctx, "exec", pod.Name, "--", "/program", "hello"); err != nil || out != "hello\n" {
				t.Errorf("exec in %s: got %q, %v", pod.Name, out, err)
			}
		}
	})
	t.Run("a pod reaches a listener of the test", func(t *testing.T) { testListener(ctx, t, c, pods[0]) })
	t.Run("the machine sees no mount of the nodes", func(t *testing.T) {
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounts), c.path()) {
			t.Errorf("mounts below %s: %v\n%s", c.path(), err, mounts)
		}
	})
	t.Run("a second Up finds it running", func(t *testing.T) {
		before := c.Daemons()
		again, err := Up(ctx, Options{Name: c.Name()})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(again.Daemons()) != fmt.Sprint(before) {
			t.Errorf("daemons: got %v, want %v", again.Daemons(), before)
		}
	})
	t.Run("the apiserver stops and starts", func(t *testing.T) { testAPIServer(ctx, t, c) })
	t.Run("a node without power goes dark and comes back with its pods", func(t *testing.T) { testPower(ctx, t, c, pods) })
	t.Run("another cluster comes and goes beside it", func(t *testing.T) { testBeside(ctx, t, c) })
}

func testListener(ctx context.Context, t *testing.T, c *Cluster, pod corev1.Pod) {
	listener, err := c.Listen("node-1", "tcp", c.NodeIP("node-1")+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "from the test")
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	target := url.QueryEscape("http://" + listener.Addr().String())
	expectAnswer(ctx, t, c, "node-1", "http://"+pod.Status.PodIP+":8080/get?url="+target, "from the test")
	server.Close()
	<-done
}

func testAPIServer(ctx context.Context, t *testing.T, c *Cluster) {
	if err := c.StopAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Kubectl(ctx, "get", "nodes", "--request-timeout=2s"); err == nil {
		t.Errorf("kubectl without an apiserver: got %q, want an error", out)
	}
	if err := c.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	if out, err := c.Kubectl(ctx, "get", "nodes"); err != nil {
		t.Error(out, err)
	}
}

func testPower(ctx context.Context, t *testing.T, c *Cluster, pods []corev1.Pod) {
	const node = "node-3"
	if err := c.StopNode(ctx, node); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		attempt, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := fetchError(attempt, c, "node-1", "http://"+pod.Status.PodIP+":8080/hostname")
		cancel()
		if dark := err != nil; dark != (pod.Spec.NodeName == node) {
			t.Errorf("%s on %s while %s is off: %v", pod.Name, pod.Spec.NodeName, node, err)
		}
	}
	if err := c.StartNode(ctx, node); err != nil {
		t.Fatal(err)
	}
	restarted := func(p corev1.Pod) bool {
		return p.Spec.NodeName != node || p.Status.ContainerStatuses[0].RestartCount > 0
	}
	for _, pod := range waitPods(ctx, t, c, restarted) {
		expectAnswer(ctx, t, c, "node-2", "http://"+pod.Status.PodIP+":8080/hostname", pod.Name)
	}
}

func testBeside(ctx context.Context, t *testing.T, first *Cluster) {
	before := first.Daemons()
	name := testName(t, "beside")
	second, err := Up(ctx, Options{Name: name, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := second.Kubectl(ctx, "get", "statefulsets", "--no-headers"); err != nil || strings.Contains(out, "probe") {
		t.Errorf("StatefulSets of the second cluster: got %q, %v; want none", out, err)
	}
	if err := second.Down(); err != nil {
		t.Fatal(err)
	}
	expectNothingLeft(t, name)
	if fmt.Sprint(first.Daemons()) != fmt.Sprint(before) || !first.healthy(ctx) {
		t.Errorf("daemons of the first cluster: got %v, want %v, healthy", first.Daemons(), before)
	}
	waitPods(ctx, t, first, func(corev1.Pod) bool { return true })
}
