package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// faster divides every duration of the rules.
const faster = 30

// address is where Prometheus listens, in the network of node-1.
const address = "127.0.0.1:9090"

// startPrometheus scrapes the replicas of the cluster with the documented job and the shortened rules.
func startPrometheus(ctx context.Context, t *testing.T, w *webhook.Webhook) v1.API {
	t.Helper()
	path, err := program(ctx, "prometheus", true)
	kit.Must(t, err)
	dir, c := t.TempDir(), w.Cluster
	rules, err := yaml.Marshal(shorten(t, readRules(t)))
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o644))
	var config map[string]any
	kit.Must(t, yaml.Unmarshal(read(t, scrapeConfig), &config))
	config["global"] = map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
	config["rule_files"] = []string{"rules.yaml"}
	job := config["scrape_configs"].([]any)[0].(map[string]any)
	delete(job, "kubernetes_sd_configs")
	job["file_sd_configs"] = []any{map[string]any{"files": []string{"targets.json"}}}
	go discover(ctx, w, filepath.Join(dir, "targets.json"))
	text, err := yaml.Marshal(config)
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(filepath.Join(dir, "prometheus.yaml"), text, 0o644))

	// Bounded, should this process be killed.
	argv := append(append([]string{"timeout", "20m"}, c.Enter("node-1")...), path, "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	log, err := os.Create(filepath.Join(dir, "log"))
	kit.Must(t, err)
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of Prometheus:\n%s", text[max(0, len(text)-4000):])
		}
	})
	client, err := api.NewClient(api.Config{Address: "http://" + address, Client: &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DialContext: c.Dialer("node-1"), DisableKeepAlives: true},
	}})
	kit.Must(t, err)
	return v1.NewAPI(client)
}

// discover does until ctx ends what kubernetes_sd_configs does, which Debian leaves out of its Prometheus: it lists a target for each
// port of each pod, with the labels of that discovery. The relabeling of the documented job chooses among them.
func discover(ctx context.Context, w *webhook.Webhook, file string) {
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		pods, err := w.Client.CoreV1().Pods(webhook.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue // Prometheus keeps the targets that it knows
		}
		targets := []target{}
		for _, pod := range pods.Items {
			for _, port := range pod.Spec.Containers[0].Ports {
				if pod.Status.PodIP == "" {
					continue
				}
				targets = append(targets, target{[]string{net.JoinHostPort(pod.Status.PodIP, fmt.Sprint(port.ContainerPort))}, map[string]string{
					"__meta_kubernetes_namespace": pod.Namespace, "__meta_kubernetes_pod_name": pod.Name,
					"__meta_kubernetes_pod_label_app": pod.Labels["app"], "__meta_kubernetes_pod_container_port_name": port.Name,
				}})
			}
		}
		text, _ := json.Marshal(targets) // strings can always be marshalled
		if old, _ := os.ReadFile(file); string(old) == string(text) {
			continue
		}
		if err := os.WriteFile(file+".new", text, 0o644); err == nil {
			_ = os.Rename(file+".new", file)
		}
	}
}

var ranges = regexp.MustCompile(`\[(\w+)\]`)

// shorten divides "for" and the ranges of every rule.
func shorten(t *testing.T, f ruleFile) ruleFile {
	t.Helper()
	divide := func(text string) string {
		d, err := time.ParseDuration(text)
		kit.Must(t, err)
		return (d / faster).String()
	}
	for _, g := range f.Groups {
		for i := range g.Rules {
			r := &g.Rules[i]
			if r.For != "" {
				r.For = divide(r.For)
			}
			r.Expr = ranges.ReplaceAllStringFunc(r.Expr, func(s string) string { return "[" + divide(strings.Trim(s, "[]")) + "]" })
		}
	}
	return f
}

func TestRulesAreShortenedInTimeOnly(t *testing.T) {
	in := rule{Alert: "A", Expr: "increase(a[10m]) > 10 and b > 120", For: "5m"}
	got := shorten(t, ruleFile{Groups: []group{{Rules: []rule{in}}}}).Groups[0].Rules[0]
	if want := "increase(a[20s]) > 10 and b > 120"; got.Expr != want || got.For != "10s" {
		t.Errorf("got %q for %s, want %q for 10s", got.Expr, got.For, want)
	}
}
