package rotator

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gauge returns the value of a series without labels.
func (p *replica) gauge(name string) float64 {
	families, err := p.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.Metric[0].GetGauge().GetValue()
		}
	}
	return -1
}

func TestEverySeriesIsThereAtZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	New(Options{Namespace: "test", Policy: defaults, Registerer: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, family := range families {
		got[family.GetName()] = len(family.Metric)
		if help := family.GetHelp(); !strings.HasSuffix(help, ".") || strings.ContainsAny(help[:1], "abcdefghijklmnopqrstuvwxyz") {
			t.Errorf("%s: the help is no sentence: %q", family.GetName(), help)
		}
		for _, m := range family.Metric {
			if v := m.GetGauge().GetValue() + m.GetCounter().GetValue(); v != 0 {
				t.Errorf("%s%v is %v at the start", family.GetName(), labels(m), v)
			}
		}
	}
	for name, series := range map[string]int{
		"sts_webhook_certificate_expiry_timestamp_seconds": 2, "sts_webhook_rotations_total": 7 * 3, "sts_webhook_repairs_total": len(causes),
		"sts_webhook_trusted": 1, "sts_webhook_rotation_overdue_seconds": 1, "sts_webhook_clock_skew_seconds": 1,
	} {
		if got[name] != series {
			t.Errorf("%s has %d series, want %d", name, got[name], series)
		}
	}
}

func labels(m *dto.Metric) []string {
	var values []string
	for _, l := range m.Label {
		values = append(values, l.GetValue())
	}
	return values
}

// rotateCall is one "sts-webhook rotate".
type rotateCall struct {
	out  bytes.Buffer
	done chan error
}

func (f *fleet) rotate(l *link, distrust bool, timeout time.Duration) *rotateCall {
	a := &rotateCall{done: make(chan error, 1)}
	go func() {
		ctx, cancel := context.WithTimeout(f.t.Context(), timeout)
		defer cancel()
		a.done <- Request(ctx, f.client(l), "test", distrust, &a.out)
	}()
	return a
}

func TestRotateFollowsItsOwnRequest(t *testing.T) {
	for name, distrust := range map[string]bool{"rotate": false, "rotate --distrust-now": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults, func(f *fleet) {
				f.startAll(2)
				f.request(request{ID: "an earlier one", Distrust: true}) // M6: what it left is no answer
				f.settled()
				before := f.signers()[0]
				f.running()[0].link.refuse(writes(forbidden, "/"))
				f.running()[1].link.refuse(writes(forbidden, "/"))
				a := f.rotate(f.link("operator"), distrust, time.Minute)
				time.Sleep(5 * time.Second)
				if got := a.out.String(); !strings.HasPrefix(got, "requested, id ") || strings.Count(got, "\n") != 1 {
					t.Errorf("while nothing can be done it says %q", got)
				}
				healAll(f)
				if err := <-a.done; err != nil {
					t.Fatal(err)
				}
				if f.signers()[0] == before && f.signers()[1] == before {
					t.Error("it says done and the CA is the same")
				}
				trusted := bundleCAs(f.bundle())
				if distrust && (len(trusted) != 1 || fingerprint(trusted[0]) == before || !strings.Contains(a.out.String(), "the caBundle trusts the new CA alone")) {
					t.Errorf("it is done and the caBundle holds %d CAs; it says %q", len(trusted), a.out.String())
				}
				f.settled()
			})
		})
	}
}

func TestTwoOperatorsAtOnceBothGetWhatTheyAskFor(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		before := f.signers()[0]
		first, second := f.rotate(f.link("first"), false, time.Minute), f.rotate(f.link("second"), true, time.Minute)
		for _, a := range []*rotateCall{first, second} {
			if err := <-a.done; err != nil {
				t.Errorf("%v after %q", err, a.out.String())
			}
		}
		f.settled()
		if n := len(f.reported("CADistrusted")); n != 1 {
			t.Errorf("%d distrusts, want 1", n)
		}
		if slices.ContainsFunc(f.running()[0].memory.Load().trusted, func(c ca) bool { return c.id == before }) {
			t.Error("the distrusted CA is trusted")
		}
	})
}

func TestRotateSurvivesThatTheSecretIsDeletedMeanwhile(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(2)
		for _, p := range f.running() {
			p.link.refuse(writes(forbidden, "/"))
		}
		a := f.rotate(f.link("operator"), true, time.Minute)
		time.Sleep(5 * time.Second)
		f.delete(secretPath)
		time.Sleep(time.Second)
		healAll(f)
		if err := <-a.done; err != nil {
			t.Errorf("%v after %q", err, a.out.String())
		}
		f.settled()
		if n := len(f.reported("CADistrusted")); n != 1 {
			t.Errorf("%d distrusts, want 1", n)
		}
	})
}

func TestRotateWithoutTheRightToReadTheConfigurationSaysSo(t *testing.T) {
	bubble(t, defaults, func(f *fleet) {
		f.startAll(1)
		operator := f.link("operator")
		operator.refuse(only(forbidden, configsPath, http.MethodGet))
		a := f.rotate(operator, true, time.Minute)
		if err := <-a.done; err != nil || !strings.Contains(a.out.String(), "cannot see whether the caBundle followed") {
			t.Errorf("%v after %q", err, a.out.String())
		}
	})
}

func TestRotateThatNobodyCarriesOutEndsWithAUsefulError(t *testing.T) {
	for name, c := range map[string]struct {
		replicas int
		broken   fault
		want     string
	}{
		"no Secret":         {0, nil, `patch Secret test/sts-webhook-certs: secrets "sts-webhook-certs" not found`},
		"no right to patch": {1, writes(forbidden, "/"), "no RBAC rule allows it"},
		"no replica acts":   {1, nil, "see the logs of the webhook's pods"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, defaults, func(f *fleet) {
				if c.replicas > 0 {
					f.startAll(c.replicas)
				}
				f.stopAll()
				operator := f.link("operator")
				operator.refuse(c.broken)
				begin := time.Now()
				err := <-f.rotate(operator, true, time.Minute).done
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want one with %q", err, c.want)
				}
				if took := time.Since(begin); took > time.Minute+time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}
