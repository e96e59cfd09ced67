package check

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/internal/rotator"
)

// Object is one that manifests/ make. A test compares the lists here with the files.
type Object struct {
	schema.GroupVersionKind
	types.NamespacedName
	// File is relative to manifests/.
	File string
}

// String is as in "Service sts-webhook".
func (o Object) String() string { return o.Kind + " " + o.Name }

const (
	rbacGroup      = "rbac.authorization.k8s.io"
	admissionGroup = "admissionregistration.k8s.io"
	gateName       = name + "-gate"
	gatePolicyFile = "optional/gate/10-policy.yaml"
)

func object(file, group, version, kind, namespace, name string) Object {
	return Object{schema.GroupVersionKind{Group: group, Version: version, Kind: kind}, types.NamespacedName{Namespace: namespace, Name: name}, file}
}

// installed are the objects of manifests/*.yaml.
var installed = []Object{
	object("00-namespace.yaml", "", "v1", "Namespace", "", Namespace),
	object("05-webhook.yaml", admissionGroup, "v1", "MutatingWebhookConfiguration", "", rotator.ConfigurationName),
	object("06-validating-webhook.yaml", admissionGroup, "v1", "ValidatingWebhookConfiguration", "", rotator.ValidatingConfigurationName),
	object("10-rbac.yaml", "", "v1", "ServiceAccount", Namespace, name),
	object("10-rbac.yaml", rbacGroup, "v1", "Role", Namespace, name),
	object("10-rbac.yaml", rbacGroup, "v1", "RoleBinding", Namespace, name),
	object("10-rbac.yaml", rbacGroup, "v1", "ClusterRole", "", name),
	object("10-rbac.yaml", rbacGroup, "v1", "ClusterRoleBinding", "", name),
	object("11-rbac-nodes.yaml", rbacGroup, "v1", "ClusterRole", "", name+"-nodes"),
	object("11-rbac-nodes.yaml", rbacGroup, "v1", "ClusterRoleBinding", "", name+"-nodes"),
	object("12-rbac-events.yaml", rbacGroup, "v1", "ClusterRole", "", name+"-events"),
	object("12-rbac-events.yaml", rbacGroup, "v1", "ClusterRoleBinding", "", name+"-events"),
	object("20-secret.yaml", "", "v1", "Secret", Namespace, rotator.SecretName),
	object("30-service.yaml", "", "v1", "Service", Namespace, rotator.ServiceName),
	object("40-deployment.yaml", "apps", "v1", "Deployment", Namespace, name),
	object("45-pod-disruption-budget.yaml", "policy", "v1", "PodDisruptionBudget", Namespace, name),
}

// gateObjects are the objects of manifests/optional/gate/*.yaml.
var gateObjects = []Object{
	object(gatePolicyFile, admissionGroup, "v1", "MutatingAdmissionPolicyBinding", "", gateName),
	object(gatePolicyFile, admissionGroup, "v1", "MutatingAdmissionPolicy", "", gateName),
	object("optional/gate/20-guard.yaml", admissionGroup, "v1", "ValidatingAdmissionPolicyBinding", "", gateName+"-guard"),
	object("optional/gate/20-guard.yaml", admissionGroup, "v1", "ValidatingAdmissionPolicy", "", gateName+"-guard"),
	object("optional/gate/30-confinement.yaml", admissionGroup, "v1", "ValidatingAdmissionPolicyBinding", "", gateName+"-confinement"),
	object("optional/gate/30-confinement.yaml", admissionGroup, "v1", "ValidatingAdmissionPolicy", "", gateName+"-confinement"),
	object(gateRightsFile, rbacGroup, "v1", "ClusterRole", "", gateName),
	object(gateRightsFile, rbacGroup, "v1", "ClusterRoleBinding", "", gateName),
}

// Right is one verb on one resource.
type Right struct {
	schema.GroupResource
	// Namespace and Name are empty for all.
	types.NamespacedName
	Verb string
	// File gives the right to the service account, relative to manifests/; empty for the rights of who applies the manifests.
	File string
}

const (
	coreRightsFile   = "10-rbac.yaml"
	nodeRightsFile   = "11-rbac-nodes.yaml"
	eventRightsFile  = "12-rbac-events.yaml"
	volumeRightsFile = "optional/check-volumes/rbac-volumes.yaml"
	gateRightsFile   = "optional/gate/40-rbac.yaml"
)

// granted are the rights that manifests/ and manifests/optional/ give to the service account.
var granted = slices.Concat(
	rights(coreRightsFile, "", "secrets", Namespace, rotator.SecretName, "get", "list", "watch", "update", "patch", "create"),
	rights(coreRightsFile, admissionGroup, "mutatingwebhookconfigurations", "", rotator.ConfigurationName, "get", "list", "watch", "update"),
	rights(coreRightsFile, admissionGroup, "validatingwebhookconfigurations", "", rotator.ValidatingConfigurationName, "get", "list", "watch", "update"),
	rights(nodeRightsFile, "", "nodes", "", "", "list", "watch"),
	rights(eventRightsFile, "", "events", "", "", "create", "patch"),
	rights(volumeRightsFile, "", "persistentvolumeclaims", "", "", "list", "watch"),
	rights(volumeRightsFile, "", "persistentvolumes", "", "", "list", "watch"),
	rights(gateRightsFile, "", "pods", "", "", "list", "watch", "patch"),
)

func rights(file, group, resource, namespace, name string, verbs ...string) (all []Right) {
	for _, verb := range verbs {
		all = append(all, Right{schema.GroupResource{Group: group, Resource: resource}, types.NamespacedName{Namespace: namespace, Name: name}, verb, file})
	}
	return all
}

// toApply are the rights that kubectl apply needs for the kinds of manifests/.
func toApply() (all []Right) {
	mapper := newMapper()
	for _, o := range installed {
		mapping, err := mapper.RESTMapping(o.GroupKind(), o.Version)
		if err != nil {
			panic(err) // the mapper is made of the same list
		}
		for _, r := range rights("", o.Group, mapping.Resource.Resource, o.Namespace, "", "get", "create", "patch") {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}
