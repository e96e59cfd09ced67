package monitoring

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// namespace is where pods are created.
const namespace = "watched"

// waitTimeout bounds the wait for an alert or for its end.
const waitTimeout = 90 * time.Second

// suite is what the incidents share.
type suite struct {
	*kit.Suite
	prometheus v1.API
	// begun and ended are when the incident of an alert did.
	begun, ended map[string]time.Time
}

func TestEndToEndMonitoring(t *testing.T) {
	s := setUp(t)
	// The chapters build on each other.
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "the Prometheus operator's definitions accept the manifests", Run: (*suite).testManifests},
		{Name: "no alert while all is well", Needed: true, Run: (*suite).testQuiet},
		// The pod and the certificate are left as they are until their own chapters.
		{Name: "all replicas are gone, and come back with a short certificate and a pod that cannot be placed", Needed: true, Run: (*suite).testNoReplica},
		{Name: "pods are refused, and DingTalk cannot be reached", Needed: true, Run: (*suite).testDenials},
		{Name: "nobody reads the log", Needed: true, Run: (*suite).testLog}, // and all three alerts end
		{Name: "the CPU is throttled", Needed: true, Run: (*suite).testSlow},
		{Name: "the right to write and the trust are lost", Needed: true, Run: (*suite).testTrust},
		{Name: "a pod waits behind the gate", Needed: true, Run: (*suite).testWaiting},
		{Name: "the certificate ends soon", Needed: true, Run: (*suite).testCertificate},
		{Name: "no alert is left", Needed: true, Run: (*suite).testQuiet},
		{Name: "the FlowSchema classifies the requests of the replicas", Run: (*suite).testFlowSchema},
		{Name: "every rule had its incident", Run: (*suite).testComplete},
	})
	s.Report(t, "test/monitoring")
}

// testComplete fails for a rule that no chapter made fire.
func (s *suite) testComplete(t *testing.T) {
	for _, r := range readRules(t).alerts() {
		if s.begun[r.Alert].IsZero() {
			t.Errorf("no incident made %s fire", r.Alert)
		}
	}
}

// setUp installs the webhook with a robot that cannot be reached, the FlowSchema and the gate, and starts Prometheus.
func setUp(t *testing.T) *suite {
	s := &suite{begun: map[string]time.Time{}, ended: map[string]time.Time{}}
	s.Suite = kit.Start(t, kit.Options{Name: "watch", Timeout: 15 * time.Minute, Fresh: true})
	s.LabelNodes(t)
	s.Kubectl(t, "apply", "-f", s.Path("manifests/optional/flow-schema"))
	s.Kubectl(t, "apply", "-f", s.Path("manifests/00-namespace.yaml"))
	// Nothing listens on port 1.
	s.Kubectl(t, "--namespace", webhook.Namespace, "create", "secret", "generic", "sts-webhook-dingtalk",
		"--from-literal=url=https://127.0.0.1:1/robot/send?access_token=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	s.Namespace(t, namespace)
	kit.Must(t, s.StartGate(s.Ctx))
	s.prometheus = startPrometheus(s.Ctx, t, s.Webhook)
	return s
}

// begin notes that the incident of these alerts begins now.
func (s *suite) begin(alerts ...string) {
	for _, name := range alerts {
		s.begun[name] = time.Now()
	}
}

// end notes that it ends now.
func (s *suite) end(alerts ...string) {
	for _, name := range alerts {
		s.ended[name] = time.Now()
	}
}

// fires waits until each of the alerts does.
func (s *suite) fires(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		s.Eventually(t, waitTimeout, func() error {
			all, err := s.prometheus.Alerts(s.Ctx)
			if err != nil {
				return err
			}
			for _, a := range all.Alerts {
				if a.Labels["alertname"] == model.LabelValue(name) && a.State == v1.AlertStateFiring {
					delete(a.Labels, "alertname")
					s.Remark("%-28s fires %6.1f s after its incident began: %s %v", name, time.Since(s.begun[name]).Seconds(), a.Value, a.Labels)
					return nil
				}
			}
			return fmt.Errorf("%s does not fire; pending or firing are %+v", name, all.Alerts)
		})
	}
}

// gone waits until nothing is pending or firing with these names.
func (s *suite) gone(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		s.Eventually(t, waitTimeout, func() error {
			all, err := s.prometheus.Alerts(s.Ctx)
			named := func(a v1.Alert) bool { return a.Labels["alertname"] == model.LabelValue(name) }
			if err == nil && slices.ContainsFunc(all.Alerts, named) {
				err = fmt.Errorf("%s goes on: %+v", name, all.Alerts)
			}
			return err
		})
		s.Remark("%-28s was gone %5.1f s after its incident ended", name, time.Since(s.ended[name]).Seconds())
	}
}

// query returns the values of an expression, without NaN.
func (s *suite) query(expression string) (model.Vector, error) {
	found, _, _, err := s.prometheus.Query(s.Ctx, expression, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	vector, _ := found.(model.Vector)
	return slices.DeleteFunc(vector, func(sample *model.Sample) bool { return math.IsNaN(float64(sample.Value)) }), nil
}

// testQuiet waits until two replicas are scraped and there is no alert, not even a pending one.
func (s *suite) testQuiet(t *testing.T) {
	s.Eventually(t, waitTimeout, func() error {
		up, err := s.query("sts_webhook_trusted == 1")
		if err != nil {
			return err
		}
		all, err := s.prometheus.Alerts(s.Ctx)
		if err == nil && (len(up) != 2 || len(all.Alerts) > 0) {
			err = fmt.Errorf("%d replicas are trusted and there are the alerts %+v, want 2 and none", len(up), all.Alerts)
		}
		return err
	})
}
