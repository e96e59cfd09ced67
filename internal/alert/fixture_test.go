package alert

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testToken  = "tok3n-0123456789abcdef+/"
	testSecret = "SECdeadbeef0123456789+/="
)

// fixture is a robot behind an in-memory network, the files that name it, and the
// notifiers that send to it. It lives in a synctest bubble, whose clock moves only
// when every goroutine waits: minutes pass at once, and nothing is left to chance.
type fixture struct {
	t       *testing.T
	robot   *dingtalktest.Robot
	routed  atomic.Pointer[dingtalktest.Robot] // robot, as the server sees it
	routes  map[string]*dingtalktest.Robot     // by host, in place of robot; set before start
	dir     string
	logs    *logs
	listen  *pipeListener
	options Options // what start uses; tests change it before
	stops   []func()
}

// simulate runs the test in a bubble. When it returns, all goroutines have ended.
func simulate(t *testing.T, test func(t *testing.T, w *fixture)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &fixture{t: t, dir: dir, logs: &logs{}, listen: newPipeListener()}
		w.route(dingtalktest.New(dingtalktest.Options{Token: testToken, Secret: testSecret}))
		w.credentials("http://robot.test/robot/send?access_token="+"tok3n-0123456789abcdef%2B%2F", testSecret)
		w.options = Options{
			URLFile: filepath.Join(dir, "url"), SecretFile: filepath.Join(dir, "secret"),
			RobotsDir: filepath.Join(dir, "robots"), AllowHTTP: true, Language: languageEn, ClusterName: "test", AlertOn: Kinds,
			Timezone: "UTC", AlertRate: robotLimit, // TestA3 holds the default
			Random: func() float64 { return 0.5 }, dial: w.listen.dial,
		}
		server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if other := w.routes[r.Host]; other != nil {
				other.ServeHTTP(rw, r)
				return
			}
			w.routed.Load().ServeHTTP(rw, r)
		})}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(w.listen) }()
		test(t, w)
		w.stop()
		_ = server.Close()
		<-served
	})
}

// route makes robot the one that answers.
func (w *fixture) route(robot *dingtalktest.Robot) {
	w.robot = robot
	w.routed.Store(robot)
}

// credentials writes both files.
func (w *fixture) credentials(url, secret string) {
	w.t.Helper()
	for name, text := range map[string]string{"url": url, "secret": secret} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text+"\n"), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// instance is one running notifier and its metrics.
type instance struct {
	*Notifier
	registry *prometheus.Registry
	end      func() // ends it and waits; may be called twice
}

// start runs a notifier with its options.
func (w *fixture) start() *instance {
	w.t.Helper()
	o := w.options
	registry := prometheus.NewRegistry()
	o.Registerer, o.Log = registry, w.logs.logger()
	n, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Start(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("Start returned %v, want nil", err)
		}
	})
	w.stops = append(w.stops, end)
	return &instance{Notifier: n, registry: registry, end: end}
}

func (w *fixture) stop() {
	for _, end := range w.stops {
		end()
	}
}

// pass lets d go by and everything delivered.
func (w *fixture) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// metric returns the value of the series, given as name or name{reason="x"}.
func (i *instance) metric(t *testing.T, series string) float64 {
	t.Helper()
	name, label, _ := strings.Cut(series, "{")
	families, err := i.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "sts_webhook_alert_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			if label != "" && fmt.Sprintf("reason=%q}", m.GetLabel()[0].GetValue()) != label {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no series %s", series)
	return 0
}

func (i *instance) expect(t *testing.T, want map[string]float64) {
	t.Helper()
	for series, value := range want {
		if got := i.metric(t, series); got != value {
			t.Errorf("metric %s = %v, want %v", series, got, value)
		}
	}
}

// exposition returns everything that the metrics endpoint would show.
func (i *instance) exposition(t *testing.T) string {
	t.Helper()
	families, err := i.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&out, family); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// placedSum reads all accepted messages and returns the sum of the placed pods.
// A pod reported twice is an error.
func (w *fixture) placedSum() map[string]string {
	w.t.Helper()
	sum := map[string]string{}
	for _, m := range w.robot.Messages() {
		placed, err := dingtalktest.Placed(m.Text)
		if err != nil {
			w.t.Fatal(err)
		}
		for pod := range placed {
			if _, twice := sum[pod]; twice {
				w.t.Errorf("%s was reported twice", pod)
			}
		}
		maps.Copy(sum, placed)
	}
	return sum
}

func (w *fixture) texts() (out []string) {
	for _, m := range w.robot.Messages() {
		out = append(out, m.Text)
	}
	return out
}

// sent returns what the robot accepted as one text.
func (w *fixture) sent() string { return strings.Join(w.texts(), "\n\n") }

// placed and denied make events.
func placed(set string, ordinal int32, value string) Event {
	return Event{Kind: Placed, Reason: PodPlaced, Namespace: "shop", StatefulSet: set, Ordinal: ordinal, Key: "name", Value: value}
}

func denied(set string) Event { return deniedFor(set, "evn") }

// deniedFor is a denial for an unknown field of the annotation.
func deniedFor(set, field string) Event {
	return Event{Kind: Denied, Reason: AnnotationInvalid, Namespace: "shop", StatefulSet: set, Details: Details{Code: "FieldUnknown", Field: field}}
}

func trust(reason string) Event {
	return Event{Kind: Trust, Reason: reason, Details: Details{Cause: "bundle_unverified", Text: "x509: certificate signed by unknown authority"}}
}
