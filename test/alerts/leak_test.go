package alerts

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// testLeaks searches everything that others may read for every robot's token and
// signing secret, in each form in which they may be written.
func (s *suite) testLeaks(t *testing.T) {
	places := map[string]string{"alert-test": strings.Join(s.printed, "\n")}
	for _, pod := range s.replicaPods(t) {
		places["log of "+pod.Name] = s.logs(s.Ctx, t, pod.Namespace, pod.Name)
		places["metrics of "+pod.Name] = s.page(t, pod.Status.PodIP, "8080/metrics")
		places["readiness of "+pod.Name] = s.page(t, pod.Status.PodIP, "8081/readyz")
	}
	for name, args := range map[string][]string{
		"events":          {"get", "events", "-A", "-o", "yaml"},
		"deployment":      {"get", "deployments,replicasets,pods", "-n", webhook.Namespace, "-o", "yaml"},
		"configuration":   {"get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "yaml"},
		"certificates":    {"get", "secret", webhook.Secret, "-n", webhook.Namespace, "-o", "yaml"},
		"describe":        {"describe", "pods", "-n", webhook.Namespace},
		"the robots' pod": {"get", "pods", "-n", standInNamespace, "-o", "yaml"},
	} {
		out, err := s.Cluster.Kubectl(s.Ctx, args...)
		kit.Must(t, err)
		places[name] = out
	}
	texts := s.fleet.texts(s.Ctx, t) + s.trial.texts(s.Ctx, t)
	places["messages"] = texts
	bytes, found := 0, 0
	for place, text := range places {
		bytes += len(text)
		if text == "" {
			t.Errorf("%s: nothing to search", place)
		}
		for _, secret := range s.secretForms() {
			if !strings.Contains(text, secret) {
				continue
			}
			if place == "the robots' pod" { // the control: there they are
				found++
				continue
			}
			t.Errorf("%s holds a token or a signing secret", place)
		}
	}
	t.Logf("searched %d places, %d bytes", len(places), bytes)
	if want := 2 * len(s.robots()); found != want {
		t.Errorf("the search found %d of the %d texts where they are, so it proves nothing", found, want)
	}
}

func (s *suite) robots() []robot { return []robot{s.fleet, s.trial, s.strict, s.team} }

// secretForms are the tokens and signing secrets, plain and encoded.
func (s *suite) secretForms() (forms []string) {
	for _, r := range s.robots() {
		for _, text := range []string{r.token, r.secret} {
			forms = append(forms, text, base64.StdEncoding.EncodeToString([]byte(text)))
		}
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte(r.url())), url.QueryEscape(r.url()))
	}
	return forms
}

// page reads what a replica serves over plain HTTP.
func (s *suite) page(t *testing.T, ip, path string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: s.Cluster.Dialer("node-1"), DisableKeepAlives: true}}
	response, err := client.Get("http://" + ip + ":" + path)
	kit.Must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	kit.Must(t, err)
	return string(text)
}
