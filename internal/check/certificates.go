package check

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"sts-mutating-webhook/internal/rotator"
)

const (
	readSecret    = "get Secret " + Namespace + "/" + rotator.SecretName
	seeLogs       = "kubectl -n custom-system logs deployment/sts-webhook"
	seeWhy        = "see why no replica renewed it: " + seeLogs
	restoreSecret = "wait a second, a ready replica restores it; if it stays so: " + seeLogs
	// overdueAfter is how late a step of the rotation may be: replicas go by the apiserver's clock, this program by its own.
	overdueAfter = 5 * time.Minute
)

// certificates looks at what the Secret holds.
func certificates(s *Snapshot) Result {
	switch {
	case apierrors.IsNotFound(s.Secret.Err):
		return problem("wait a second, a ready replica restores it; if there is none: "+applyManifests, "Secret %s/%s does not exist", Namespace, rotator.SecretName)
	case s.Secret.Err != nil:
		return unread(readSecret, s.Secret.Err)
	}
	o, err := rotator.Foresee(s.Secret.Value, s.Flags.Value.Policy, s.Now)
	if err != nil {
		return problem(restoreSecret, "Secret %s/%s: %v", Namespace, rotator.SecretName, err)
	}
	ends := fmt.Sprintf("CA until %s, serving certificate until %s", date(o.CAs[0].NotAfter), date(o.Serving.NotAfter))
	next := fmt.Sprintf("next step: %s on %s", o.Step, date(o.Due))
	if s.Flags.Err != nil {
		next = "next step unknown, as the Deployment's flags are"
	}
	switch {
	case !s.Now.Before(o.CAs[0].NotAfter):
		return problem(seeWhy, "the CA has expired: %s", ends)
	case !s.Now.Before(o.Serving.NotAfter):
		return problem(seeWhy, "the serving certificate has expired: %s", ends)
	case s.Flags.Err == nil && s.Now.Sub(o.Due) > overdueAfter:
		return warning(seeLogs+", whose message WriteRefused says why", "%s; overdue: %s since %s", ends, o.Step, date(o.Due))
	}
	return ok("%s; %s", ends, next)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// entry is a webhook that calls our Service.
type entry struct {
	configuration, name string
	bundle              []byte
	failurePolicy       admissionv1.FailurePolicyType
}

func newEntry(configuration, name string, c *admissionv1.WebhookClientConfig, p *admissionv1.FailurePolicyType) []entry {
	if c.Service == nil || c.Service.Namespace != Namespace || c.Service.Name != rotator.ServiceName {
		return nil // of another installation
	}
	e := entry{configuration, name, c.CABundle, admissionv1.Fail}
	if p != nil {
		e.failurePolicy = *p
	}
	return []entry{e}
}

// caBundles compares what the apiserver trusts with the Secret.
func caBundles(s *Snapshot) Result {
	switch {
	case apierrors.IsNotFound(s.Mutating.Err):
		return problem(applyManifests, "MutatingWebhookConfiguration %s does not exist: opted-in pods are created without a nodeSelector", rotator.ConfigurationName)
	case s.Mutating.Err != nil:
		return unread("get MutatingWebhookConfiguration "+rotator.ConfigurationName, s.Mutating.Err)
	case s.Validating.Err != nil && !apierrors.IsNotFound(s.Validating.Err):
		return unread("get ValidatingWebhookConfiguration "+rotator.ValidatingConfigurationName, s.Validating.Err)
	}
	var entries []entry
	for i := range s.Mutating.Value.Webhooks {
		w := &s.Mutating.Value.Webhooks[i]
		entries = append(entries, newEntry(rotator.ConfigurationName, w.Name, &w.ClientConfig, w.FailurePolicy)...)
	}
	if len(entries) == 0 {
		return problem("kubectl apply -f manifests/05-webhook.yaml", "no entry of MutatingWebhookConfiguration %s calls Service %s/%s",
			rotator.ConfigurationName, Namespace, rotator.ServiceName)
	}
	if s.Validating.Err == nil {
		for i := range s.Validating.Value.Webhooks {
			w := &s.Validating.Value.Webhooks[i]
			entries = append(entries, newEntry(rotator.ValidatingConfigurationName, w.Name, &w.ClientConfig, w.FailurePolicy)...)
		}
	}
	results := []Result{bundlesTrust(entries, s)}
	if entries[0].failurePolicy != admissionv1.Fail {
		results = append(results, warning("kubectl apply -f manifests/05-webhook.yaml, and see docs/availability.md",
			"failurePolicy of %s is %s, not Fail: while no replica answers, pods start on any node", entries[0].name, entries[0].failurePolicy))
	}
	return worst(results...)
}

// bundlesTrust says whether every entry has the CA that signs.
func bundlesTrust(entries []entry, s *Snapshot) Result {
	for _, e := range entries {
		if len(authorities(e.bundle)) == 0 {
			return problem(caBundleTodo, "the caBundle of %s in %s holds no certificate", e.name, e.configuration)
		}
	}
	if s.Secret.Err != nil {
		return unread(readSecret+", which the caBundles are compared with", s.Secret.Err)
	}
	o, err := rotator.Foresee(s.Secret.Value, s.Flags.Value.Policy, s.Now)
	if err != nil {
		return warning("see the line of the certificates", "not checked: Secret %s/%s: %v", Namespace, rotator.SecretName, err)
	}
	for _, e := range entries {
		if !slices.ContainsFunc(authorities(e.bundle), o.CAs[0].Equal) {
			return problem(caBundleTodo, "the caBundle of %s in %s does not hold the CA of the Secret", e.name, e.configuration)
		}
	}
	return ok("%s with the CA of the Secret", count(len(entries), "entry", "entries"))
}

const caBundleTodo = "wait a second, a ready replica repairs it; if it stays so, something else writes it: " + seeLogs

// authorities reads a caBundle as the apiserver does: what is no certificate is skipped.
func authorities(bundle []byte) (all []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			return all
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, cert)
		}
	}
}
