package rotator

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestEveryListAndWatchNamesItsOneObject(t *testing.T) {
	for name, c := range map[string]struct{ method, address, want string }{
		"a list of Secrets":              {"GET", "/api/v1/namespaces/test/secrets?limit=500", "metadata.name=" + SecretName},
		"a watch of configurations":      {"GET", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations?watch=true", "metadata.name=" + ConfigurationName},
		"a get by name needs none":       {"GET", "/api/v1/namespaces/test/secrets/" + SecretName, ""},
		"other resources are left alone": {"GET", "/api/v1/namespaces/test/pods", ""},
		"writes are left alone":          {"POST", "/api/v1/namespaces/test/secrets", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var sent url.Values
			transport := onlyByName(roundTripper(func(r *http.Request) (*http.Response, error) {
				sent = r.URL.Query()
				return nil, errors.New("not sent")
			}))
			req, err := http.NewRequest(c.method, "https://apiserver"+c.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			before := req.URL.String()
			_, _ = transport.RoundTrip(req)
			if got := sent.Get("fieldSelector"); got != c.want {
				t.Errorf("fieldSelector %q, want %q", got, c.want)
			}
			if req.URL.String() != before {
				t.Error("the caller's request was changed, which net/http forbids")
			}
		})
	}
}

func TestTheClockLearnsFromDateHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		date    string
		want    time.Duration
		trouble bool
	}{
		"the same second":            {testNow.Format(http.TimeFormat), 0, false},
		"within the resolution":      {testNow.Add(-2 * time.Second).Format(http.TimeFormat), 0, false},
		"four minutes ahead":         {testNow.Add(-4 * time.Minute).Format(http.TimeFormat), 4 * time.Minute, false},
		"six minutes behind":         {testNow.Add(6 * time.Minute).Format(http.TimeFormat), -6 * time.Minute, true},
		"no date teaches nothing":    {"", 0, false},
		"a bad date teaches nothing": {"yesterday", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &skewClock{local: func() time.Time { return testNow }}
			transport := clock.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{Header: http.Header{"Date": {c.date}}}, nil
			}))
			if _, err := transport.RoundTrip(nil); err != nil {
				t.Fatal(err)
			}
			if clock.Skew() != c.want || (clock.trouble() != nil) != c.trouble {
				t.Errorf("skew %s, trouble %v", clock.Skew(), clock.trouble())
			}
			if c.trouble && !clock.Now().Equal(testNow.Add(-c.want)) {
				t.Errorf("a wrong clock tells %s, want the apiserver's time", clock.Now())
			}
		})
	}
}

func TestTheEngineIsQuietAboutWhatWeAnswerFor(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, SecretName, errors.New("changed"))
	for name, c := range map[string]struct {
		logger string
		log    func(logr.Logger)
		level  string // "" means that nothing is written at the default verbosity
	}{
		"its chatter":                      {engineLogName, func(l logr.Logger) { l.Info("no cert refresh needed") }, ""},
		"its conflicts":                    {engineLogName, func(l logr.Logger) { l.Error(conflict, "could not refresh CA and server certs") }, ""},
		"a damaged Secret":                 {engineLogName, func(l logr.Logger) { l.Error(nil, "secret is not well-formed, cannot update webhook configurations") }, ""},
		"a missing configuration":          {engineLogName, func(l logr.Logger) { l.Error(nil, "Webhook not found. Unable to update certificate.") }, ""},
		"any other trouble stays an error": {engineLogName, func(l logr.Logger) { l.Error(errors.New("x"), "could not refresh cert on startup") }, "ERROR"},
		"values do not lose the name":      {engineLogName, func(l logr.Logger) { l.WithValues("a", 1).Info("Ensuring CA cert") }, ""},
		"others' lines stay":               {"controller", func(l logr.Logger) { l.Info("Starting workers") }, "INFO"},
		"others' conflicts stay":           {"controller", func(l logr.Logger) { l.Error(conflict, "Reconciler error") }, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := QuietEngine(logr.FromSlogHandler(slog.NewJSONHandler(&out, nil)))
			c.log(log.WithName(c.logger))
			if c.level == "" && out.Len() > 0 {
				t.Errorf("written: %s", out.String())
			}
			if c.level != "" && !strings.Contains(out.String(), `"level":"`+c.level+`"`) {
				t.Errorf("written %q, want level %s", out.String(), c.level)
			}
		})
	}
}

func TestTheMarkerHoldsNoCertificate(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir, err := Marker()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, certKey))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("BEGIN")) {
		t.Errorf("marker holds %q", text)
	}
}
