package cluster

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// needCluster skips a test where a cluster cannot be or was not asked for.
func needCluster(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up real clusters; set TEST_CLUSTER=1 (make test-cluster) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// testName keeps the tests away from the cluster that make demo leaves.
func testName(t *testing.T, suffix string) string {
	t.Helper()
	name, err := ResolveName("")
	if err != nil {
		t.Fatal(err)
	}
	return name + "-" + suffix
}

// bringUp brings up a cluster that is removed at the end of the test.
func bringUp(ctx context.Context, t *testing.T, name string, nodes int) *Cluster {
	t.Helper()
	begin := time.Now()
	c, err := Up(ctx, Options{Name: name, Nodes: nodes, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		begin := time.Now()
		if err := c.Down(); err != nil {
			t.Error(err)
		}
		t.Logf("%s down in %.1f s", name, time.Since(begin).Seconds())
		expectNothingLeft(t, name)
	})
	t.Logf("%s with %d nodes up in %.1f s", name, nodes, time.Since(begin).Seconds())
	return c
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// waitPods waits for the six pods of the StatefulSet to be Ready and as wanted.
func waitPods(ctx context.Context, t *testing.T, c *Cluster, wanted func(corev1.Pod) bool) []corev1.Pod {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var list *corev1.PodList
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		if list, err = client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=probe"}); err != nil {
			return false, err
		}
		good := 0
		for _, pod := range list.Items {
			if podReady(pod) && wanted(pod) {
				good++
			}
		}
		return good == 6, nil
	})
	if err != nil {
		out, _ := c.Kubectl(context.Background(), "describe", "pods")
		t.Fatalf("wait for pods: %v\n%s", err, out)
	}
	return list.Items
}

func podReady(pod corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue && len(pod.Status.ContainerStatuses) == 1 &&
				pod.Status.ContainerStatuses[0].Ready
		}
	}
	return false
}

func serviceIP(ctx context.Context, t *testing.T, c *Cluster) string {
	t.Helper()
	ip, err := c.Kubectl(ctx, "get", "service", "probe", "--output=jsonpath={.spec.clusterIP}")
	if err != nil {
		t.Fatal(err)
	}
	return ip
}

func fetchError(ctx context.Context, c *Cluster, node, target string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DialContext: c.Dialer(node), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func fetch(ctx context.Context, t *testing.T, c *Cluster, node, target string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := fetchError(ctx, c, node, target)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func expectAnswer(ctx context.Context, t *testing.T, c *Cluster, node, target, want string) {
	t.Helper()
	if got := fetch(ctx, t, c, node, target); got != want {
		t.Errorf("%s from %s: got %q, want %q", target, node, got, want)
	}
}
