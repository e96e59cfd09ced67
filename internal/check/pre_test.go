package check

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/version"
)

// fit is a cluster that the webhook can be installed in.
func fit() *PreSnapshot {
	s := &PreSnapshot{}
	s.Version.Value = &version.Info{GitVersion: "v1.36.3"}
	s.Resources.Value = []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}
	s.Labels.Value = map[Object]map[string]string{}
	return s
}

const fitTable = `CHECK    STATUS   MESSAGE
server   ok       Kubernetes v1.36.3
api      ok       the apiserver serves admissionregistration.k8s.io/v1
names    ok       none of the 16 names is taken
rights   ok       you may get, create and patch clusterrolebindings, clusterroles, deployments, mutatingwebhookconfigurations, namespaces, poddisruptionbudgets, rolebindings, roles, secrets, serviceaccounts, services, validatingwebhookconfigurations
gate     ok       Kubernetes v1.36.3 has the policy of the optional gate
`

func TestAFitClusterIsOkInEveryLine(t *testing.T) {
	var out bytes.Buffer
	if err := Print(&out, "table", MakePre(fit())); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fitTable, out.String()); diff != "" {
		t.Errorf("table differs (-want +got):\n%s", diff)
	}
}

func TestPreLines(t *testing.T) {
	runs := func(v string) func(*PreSnapshot) { return func(s *PreSnapshot) { s.Version.Value.GitVersion = v } }
	exists := func(kind string, labels map[string]string) func(*PreSnapshot) {
		return func(s *PreSnapshot) {
			for _, o := range installed {
				if o.Kind == kind {
					s.Labels.Value[o] = labels
				}
			}
		}
	}
	const enable = "enable it: kube-apiserver --runtime-config"
	for name, c := range map[string]struct {
		change  func(*PreSnapshot)
		check   string
		status  Status
		message string
		todo    string
	}{
		"the lowest version":  {runs("v1.30.0"), "server", OK, "Kubernetes v1.30.0", ""},
		"a vendor's version":  {runs("v1.30.5-gke.100"), "server", OK, "Kubernetes v1.30.5-gke.100", ""},
		"a lower version":     {runs("v1.29.14+k3s1"), "server", Problem, "Kubernetes v1.29.14+k3s1, the webhook needs 1.30", "upgrade Kubernetes"},
		"a text":              {runs("unknown"), "server", Warning, `not checked: cannot get the version of the apiserver: could not parse "unknown" as version`, checkAgain},
		"a forbidden version": {func(s *PreSnapshot) { s.Version.Err = forbidden("get", "version") }, "gate", Warning, "not checked: it is forbidden to get the version of the apiserver", otherKubeconfig},
		"no policy": {runs("v1.35.9"), "gate", Warning, "Kubernetes v1.35.9, the optional gate's policy needs 1.36: without it pods are refused while no replica answers",
			"nothing, or put the gate into pod templates: docs/availability.md, section Before Kubernetes 1.36"},
		"no API":      {func(s *PreSnapshot) { s.Resources.Err = errors.New("not found") }, "api", Problem, "the apiserver does not serve admissionregistration.k8s.io/v1: not found", enable},
		"half an API": {func(s *PreSnapshot) { s.Resources.Value = s.Resources.Value[:1] }, "api", Problem, "the apiserver does not serve validatingwebhookconfigurations of admissionregistration.k8s.io/v1", enable},
		"a name is taken": {exists("Service", map[string]string{"app": "other"}), "names", Problem, "taken by something else, without the label app=sts-webhook: Service sts-webhook",
			"find out whose they are (kubectl describe), and delete or rename them"},
		"it is installed":                 {exists("ClusterRole", map[string]string{"app": "sts-webhook"}), "names", OK, "no name is taken by something else; 3 of 15 objects exist with the label app=sts-webhook", ""},
		"the namespace of an install":     {exists("Namespace", map[string]string{namespaceLabel: "restricted"}), "names", OK, "none of the 16 names is taken", ""},
		"a namespace with another policy": {exists("Namespace", nil), "names", Warning, "namespace custom-system exists already, without the label pod-security.kubernetes.io/enforce=restricted", "see that its other pods satisfy this Pod Security level, which manifests/00-namespace.yaml sets"},
		"objects are forbidden":           {func(s *PreSnapshot) { s.Labels.Err = forbidden("get", "secrets") }, "names", Warning, "not checked: it is forbidden to get the objects that manifests/ make", otherKubeconfig},
		"rights are missing": {func(s *PreSnapshot) { s.Denied.Value = toApply()[1:3] }, "rights", Problem, "you may not create and patch namespaces",
			"apply the manifests as an administrator of the cluster"},
		"rights cannot be reviewed": {func(s *PreSnapshot) { s.Denied.Err = context.DeadlineExceeded }, "rights", Warning, "not checked: cannot create SelfSubjectAccessReviews: context deadline exceeded", checkAgain},
	} {
		t.Run(name, func(t *testing.T) {
			s := fit()
			c.change(s)
			var got Result
			for _, r := range MakePre(s) {
				if r.Check == c.check {
					got = r
				}
			}
			if diff := cmp.Diff(Result{c.check, c.status, c.message, c.todo}, got); diff != "" {
				t.Errorf("result differs (-want +got):\n%s", diff)
			}
		})
	}
}
