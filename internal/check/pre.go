package check

import (
	"maps"
	"slices"
	"strings"

	utilversion "k8s.io/apimachinery/pkg/util/version"
)

// The lowest versions of Kubernetes.
var (
	minVersion     = utilversion.MustParseGeneric("1.30") // matchConditions
	minGateVersion = utilversion.MustParseGeneric("1.36") // MutatingAdmissionPolicy
)

const (
	namespaceLabel = "pod-security.kubernetes.io/enforce"
	appLabel       = "app"
)

// MakePre checks a cluster before an installation. Its results have a fixed order and number.
func MakePre(s *PreSnapshot) []Result {
	return []Result{
		serverVersion(s).named("server"),
		api(s).named("api"),
		names(s).named("names"),
		userRights(s).named("rights"),
		gatePolicy(s).named("gate"),
	}
}

func serverVersion(s *PreSnapshot) Result {
	v, text, err := s.version()
	switch {
	case err != nil:
		return unread("get the version of the apiserver", err)
	case v.LessThan(minVersion):
		return problem("upgrade Kubernetes", "Kubernetes %s, the webhook needs %s", text, minVersion)
	}
	return ok("Kubernetes %s", text)
}

// version leaves out what follows the patch version, such as "-gke.100" and "-rc.1".
func (s *PreSnapshot) version() (*utilversion.Version, string, error) {
	if s.Version.Err != nil {
		return nil, "", s.Version.Err
	}
	text := s.Version.Value.GitVersion
	v, err := utilversion.ParseGeneric(text)
	return v, text, err
}

func api(s *PreSnapshot) Result {
	if s.Resources.Err != nil {
		return problem("enable it: kube-apiserver --runtime-config", "the apiserver does not serve %s/v1: %v", admissionGroup, s.Resources.Err)
	}
	for _, resource := range []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} {
		if !slices.Contains(s.Resources.Value, resource) {
			return problem("enable it: kube-apiserver --runtime-config", "the apiserver does not serve %s of %s/v1", resource, admissionGroup)
		}
	}
	return ok("the apiserver serves %s/v1", admissionGroup)
}

// names looks for objects that manifests/ would take over.
func names(s *PreSnapshot) Result {
	if s.Labels.Err != nil {
		return unread("get the objects that manifests/ make", s.Labels.Err)
	}
	var taken, ours []string
	shared := false
	for _, o := range installed {
		labels, exists := s.Labels.Value[o]
		switch {
		case !exists:
		case o.Kind == "Namespace":
			shared = labels[namespaceLabel] != "restricted"
		case labels[appLabel] == name:
			ours = append(ours, o.String())
		default:
			taken = append(taken, o.String())
		}
	}
	switch {
	case len(taken) > 0:
		return problem("find out whose they are (kubectl describe), and delete or rename them", "taken by something else, without the label %s=%s: %s", appLabel, name, list(taken))
	case shared:
		return warning("see that its other pods satisfy this Pod Security level, which manifests/00-namespace.yaml sets",
			"namespace %s exists already, without the label %s=restricted", Namespace, namespaceLabel)
	case len(ours) > 0:
		return ok("no name is taken by something else; %d of %d objects exist with the label %s=%s", len(ours), len(installed)-1, appLabel, name)
	}
	return ok("none of the %d names is taken", len(installed))
}

func userRights(s *PreSnapshot) Result {
	switch {
	case s.Denied.Err != nil:
		return unread("create SelfSubjectAccessReviews", s.Denied.Err)
	case len(s.Denied.Value) > 0:
		return problem("apply the manifests as an administrator of the cluster", "you may not %s", describe(s.Denied.Value))
	}
	resources := map[string]bool{}
	for _, r := range toApply() {
		resources[r.Resource] = true
	}
	return ok("you may get, create and patch %s", strings.Join(slices.Sorted(maps.Keys(resources)), ", "))
}

func gatePolicy(s *PreSnapshot) Result {
	v, text, err := s.version()
	switch {
	case err != nil:
		return unread("get the version of the apiserver", err)
	case v.LessThan(minGateVersion):
		return warning("nothing, or put the gate into pod templates: docs/availability.md, section Before Kubernetes 1.36",
			"Kubernetes %s, the optional gate's policy needs %s: without it pods are refused while no replica answers", text, minGateVersion)
	}
	return ok("Kubernetes %s has the policy of the optional gate", text)
}
