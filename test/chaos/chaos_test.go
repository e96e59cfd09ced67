package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
	"sts-mutating-webhook/test/webhook"
)

func TestChaos(t *testing.T) {
	s := setUp(t)
	var rows []row
	var chapters []kit.Chapter[*suite]
	name := strings.NewReplacer("`", "", "/", " ") // a subtest's cannot hold these
	for _, sc := range scenarios() {
		if sc.form == shortForm && !testing.Short() {
			continue
		}
		run := func(s *suite, t *testing.T) {
			r := row{name: sc.name, failed: true, remarks: []string{"did not end"}}
			defer func() { rows = append(rows, r) }()
			r = s.run(t, sc)
			r.failed = t.Failed()
			t.Logf("ours %s, textbook %s, Secret valid after %s, %s", r.ours, r.control, r.healed, strings.Join(r.remarks, "; "))
		}
		chapters = append(chapters, kit.Chapter[*suite]{Name: name.Replace(sc.name), Long: sc.form == longForm, Run: run})
	}
	chapters = append(chapters, kit.Chapter[*suite]{Name: "first boot", Run: (*suite).testFirstBoots})
	kit.Run(t, s, chapters)
	s.Report(t, "test/chaos", markdown(rows))
}

// loadNamespace is where the pods are created.
const loadNamespace = "chaos-load"

// replicas of each webhook.
const replicas = 3

// suite is the cluster with both webhooks.
type suite struct {
	*kit.Suite
	// requests is the client that "sts-webhook rotate" uses.
	requests client.Client
	ours     *target
	control  *target
	logs     *logs
	// manifests is a copy of manifests/ with three replicas and quickFlags.
	manifests string
	// pause is how long the load goes on after an event, at least.
	pause time.Duration
	// second is a second apiserver; nil while there is none.
	second *cluster.Second
}

// setUp brings everything up, as fresh as a first installation.
func setUp(t *testing.T) *suite {
	t.Helper()
	s := &suite{pause: 3 * time.Second, manifests: t.TempDir()}
	options := kit.Options{Name: "chaos", Timeout: time.Hour, Programs: map[string]string{textbookImage: "test/textbook"}}
	if testing.Short() {
		s.pause = time.Second
	} else {
		options.Variants = map[string]string{nextFormatImage: fmt.Sprintf("sts-mutating-webhook/internal/rotator.recordFormat=%d", nextFormat)}
	}
	s.Suite = kit.Start(t, options)
	var err error
	s.requests, err = client.New(s.Cluster.RESTConfig(), client.Options{})
	kit.Must(t, err)
	s.ours = &target{
		suite: s, name: "ours", namespace: webhook.Namespace, deployment: webhook.Deployment, secret: webhook.Secret,
		configuration: webhook.Configuration, optIn: load.OptIn, program: "/sts-webhook", port: "8443", replicas: replicas,
	}
	s.control = &target{
		suite: s, name: "textbook", namespace: "textbook-system", deployment: "textbook-webhook", secret: "textbook-webhook-cert",
		configuration: "textbook-webhook", optIn: "textbook", program: "/program", port: "9443", replicas: replicas,
	}
	s.Namespace(t, loadNamespace)
	ours, control := &attempt{target: s.ours, t: t}, &attempt{target: s.control, t: t}
	kit.Must(t, s.Cluster.KillDaemon(s.Ctx, cluster.SecondAPIServer))
	for _, node := range s.Cluster.Nodes() {
		_ = s.Cluster.Reconnect(s.Ctx, node) // an error is that no pod is cut off
	}
	ours.removeSecond()
	kit.Must(t, s.Uninstall(s.Ctx))
	textbook := s.Path("test/textbook/manifests/textbook.yaml")
	s.Kubectl(t, "delete", "--ignore-not-found", "-f", textbook)
	s.Kubectl(t, "apply", "-f", textbook)
	kit.Must(t, os.CopyFS(s.manifests, os.DirFS(s.Path("manifests"))))
	deployment, err := yaml.Marshal(ours.readDeployment(replicas, quickFlags))
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(filepath.Join(s.manifests, deploymentManifest), deployment, 0o644))
	ours.apply()
	s.logs = readLogs(s.ours)
	kit.Must(t, errors.Join(s.ours.record(), s.control.record()))
	kit.Must(t, s.ours.settle(time.Minute))
	t.Log("ours has settled")
	// The textbook looks for the mounted certificate at growing intervals, so that its first boot
	// would take minutes; that is not what is measured.
	control.await(time.Time{}, time.Minute, secretKind, "the textbook's Secret", version.isWhole)
	control.restart()
	return s
}

const (
	textbookImage = "sts-webhook-test/textbook:1"
	// nextFormatImage is our webhook, but with the next format of its record.
	nextFormatImage = "sts-webhook-test/next-format:1"
	nextFormat      = 2

	deploymentManifest = "40-deployment.yaml"
)

// quickFlags let a rotation take seconds.
var quickFlags = []string{"--ca-overlap=2s", "--rotation-check=1s"}

// readDeployment is the one of the manifests with other replicas and flags.
func (a *attempt) readDeployment(n int32, flags []string) *appsv1.Deployment {
	content, err := os.ReadFile(a.Path("manifests/" + deploymentManifest))
	a.must(err)
	var d appsv1.Deployment
	a.must(yaml.UnmarshalStrict(content, &d))
	d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Args = &n, flags
	return &d
}

func (a *attempt) apply() { a.Kubectl(a.t, "apply", "-f", a.manifests) }

// reinstall makes ours as fresh as a first installation.
func reinstall(a *attempt) {
	a.must(a.Uninstall(a.Ctx))
	a.apply()
	a.must(a.settle(settleTimeout))
}

// configure gives ours these flags and waits until no replica with others is left:
// one that drains rotates too, and by its own flags.
func (a *attempt) configure(flags ...string) {
	ctx, cancel := context.WithTimeout(a.Ctx, 3*time.Minute)
	defer cancel()
	a.must(a.Configure(ctx, flags...))
	a.drained(replicas)
	a.must(a.settle(settleTimeout))
}
