package alerts

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

// control is a place in which the search must find every secret. It has a namespace of its own,
// so that nothing of it is found where leaks are looked for.
const control = "robots"

// testLeaks searches everything that others may read for every robot's token and
// signing secret, in each form in which they may be written.
func (s *suite) testLeaks(t *testing.T) {
	robots := []*kit.Robot{s.fleet, s.trial, s.strict, s.team}
	var secrets []string
	for _, r := range robots {
		secrets = append(secrets, r.Token, r.Secret)
	}
	s.Kubectl(t, "create", "configmap", "robots", "-n", s.Namespace(t, control), "--from-literal=secrets="+strings.Join(secrets, " "))
	read := map[string][]string{
		"events":        {"get", "events", "-A", "-o", "yaml"},
		"deployment":    {"get", "deployments,replicasets,pods", "-n", webhook.Namespace, "-o", "yaml"},
		"configuration": {"get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "yaml"},
		"certificates":  {"get", "secret", webhook.Secret, "-n", webhook.Namespace, "-o", "yaml"},
		"describe":      {"describe", "pods", "-n", webhook.Namespace},
		control:         {"get", "configmap", "robots", "-n", control, "-o", "yaml"},
	}
	for _, pod := range s.replicaPods(t) {
		proxy := "/api/v1/namespaces/" + webhook.Namespace + "/pods/" + pod.Name
		read["log of "+pod.Name] = []string{"logs", "-n", webhook.Namespace, pod.Name}
		read["metrics of "+pod.Name] = []string{"get", "--raw", proxy + ":8080/proxy/metrics"}
		read["readiness of "+pod.Name] = []string{"get", "--raw", proxy + ":8081/proxy/readyz"}
	}
	places := map[string]string{"alert-test": strings.Join(s.printed, "\n"), "messages": s.fleet.Texts() + s.trial.Texts()}
	for place, args := range read {
		places[place] = s.Kubectl(t, args...)
	}
	bytes, found := 0, 0
	for place, text := range places {
		bytes += len(text)
		if text == "" {
			t.Errorf("%s: nothing to search", place)
		}
		for _, secret := range secretForms(robots) {
			switch {
			case !strings.Contains(text, secret):
			case place == control:
				found++
			default:
				t.Errorf("%s holds a token or a signing secret", place)
			}
		}
	}
	t.Logf("searched %d places, %d bytes", len(places), bytes)
	if found != len(secrets) {
		t.Errorf("the search found %d of the %d texts where they are, so it proves nothing", found, len(secrets))
	}
}

// secretForms are the tokens and signing secrets, plain and encoded.
func secretForms(robots []*kit.Robot) (forms []string) {
	for _, r := range robots {
		for _, text := range []string{r.Token, r.Secret} {
			forms = append(forms, text, base64.StdEncoding.EncodeToString([]byte(text)))
		}
		forms = append(forms, base64.StdEncoding.EncodeToString([]byte(r.URL)), url.QueryEscape(r.URL))
	}
	return forms
}
