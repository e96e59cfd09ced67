package rollout

import (
	"testing"
	"time"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	loadNamespace = "rollout-load"
	textbookImage = "sts-webhook-test/textbook:1"
	// replicas of each webhook, as in the manifests.
	replicas = 2
)

// suite is the cluster with both webhooks.
type suite struct {
	*kit.Suite
	ours    *fleet
	control *fleet // nil with -short
	drains  *drains
	rows    []row
}

func setUp(t *testing.T) *suite {
	t.Helper()
	options := kit.Options{Name: "rollout", Timeout: 40 * time.Minute}
	if !testing.Short() {
		options.Programs = map[string]string{textbookImage: "test/textbook"}
	}
	s := &suite{Suite: kit.Start(t, options)}
	s.ours = &fleet{suite: s, name: "ours", namespace: webhook.Namespace, app: webhook.Deployment, program: "/sts-webhook", optIn: webhook.Label}
	s.Namespace(t, loadNamespace)
	if !testing.Short() {
		s.control = &fleet{suite: s, name: "textbook", namespace: "textbook-system", app: "textbook-webhook", program: "/program", optIn: "textbook"}
		s.Kubectl(t, "apply", "-f", s.Path("test/textbook/manifests/textbook.yaml"))
		kit.Must(t, s.control.scale(s.Ctx, replicas))
	}
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	kit.Must(t, s.Restart(s.Ctx))     // a kept cluster may still run an older image
	kit.Must(t, s.ours.settle(s.Ctx)) // the control starts meanwhile
	s.drains = watchDrains(s.Ctx, t, s.ours)
	return s
}
