package check

import (
	"fmt"
	"slices"
	"strings"
)

const gateTodo = "kubectl apply -f manifests/optional/gate/, or kubectl delete -f the same"

// serviceAccountRights compares the rights of the webhook with those that it needs with its flags.
func serviceAccountRights(s *Snapshot) Result {
	if s.Denied.Err != nil {
		return unread("create SubjectAccessReviews", s.Denied.Err)
	}
	results := []Result{}
	for _, f := range []struct {
		file   string
		needed bool
		todo   string
		report func(string, string, ...any) Result
	}{
		{coreRightsFile, true, "", problem},
		{nodeRightsFile, s.Flags.Value.CheckNodes, ", or start with --check-nodes=false", warning},
		{eventRightsFile, s.Flags.Value.Events, ", or start with --events=false", warning},
		{volumeRightsFile, s.Flags.Value.CheckVolume, ", or start with --check-volumes=false", warning},
		{gateRightsFile, s.Gate.Err == nil && slices.ContainsFunc(gateObjects, func(o Object) bool { return s.Gate.Value[o] }), "", problem},
	} {
		var missing []Right
		for _, r := range s.Denied.Value {
			if r.File == f.file {
				missing = append(missing, r)
			}
		}
		if f.needed && len(missing) > 0 {
			results = append(results, f.report("kubectl apply -f manifests/"+f.file+f.todo,
				"service account %s/%s may not %s", Namespace, name, describe(missing)))
		}
	}
	if s.Flags.Err != nil {
		results = append(results, warning("use the program of the same version as the webhook", "the Deployment's flags cannot be read, so some rights were not checked: %v", s.Flags.Err))
	}
	if len(results) == 0 {
		return ok("service account %s/%s has the rights that its flags need", Namespace, name)
	}
	return worst(results...)
}

// describe is as in "get and list secrets sts-webhook-certs, watch nodes".
func describe(rights []Right) string {
	var parts []string
	for i := 0; i < len(rights); {
		first := rights[i]
		verbs := []string{}
		for ; i < len(rights) && rights[i].GroupResource == first.GroupResource && rights[i].NamespacedName == first.NamespacedName; i++ {
			verbs = append(verbs, rights[i].Verb)
		}
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s %s", list(verbs), first.Resource, first.Name)))
	}
	return strings.Join(parts, ", ")
}

// gate says whether the optional scheduling gate is on, and who waits behind it.
func gate(s *Snapshot) Result {
	switch {
	case s.Gate.Err != nil:
		return unread("get the objects of manifests/optional/gate", s.Gate.Err)
	case s.Waiting.Err != nil:
		return unread("list pods of all namespaces", s.Waiting.Err)
	}
	var missing []string
	onlyPolicy := true // before Kubernetes 1.36 there is none, and pod templates have the gate
	for _, o := range gateObjects {
		if !s.Gate.Value[o] {
			missing = append(missing, o.String())
		}
		onlyPolicy = onlyPolicy && s.Gate.Value[o] == (o.File != gatePolicyFile)
	}
	waiting := s.Waiting.Value
	state := "on"
	switch {
	case len(missing) == len(gateObjects):
		state = "off"
	case onlyPolicy:
		state = "on for pods whose template has it, without the policy"
	case len(missing) > 0:
		return warning(gateTodo, "half on, without %s; %s waiting behind it", list(missing), count(waiting, "pod", "pods"))
	}
	switch {
	case waiting > 0 && state == "off":
		return problem("kubectl apply -f manifests/optional/gate/, or delete the pods: kubectl get pods -A -l ab-build-different=true --field-selector status.phase=Pending",
			"off, and nobody places the %s waiting behind it", count(waiting, "pod", "pods"))
	case waiting > 0:
		return warning("kubectl get pods -A -l ab-build-different=true --field-selector status.phase=Pending; the event NotPlaced of each says why",
			"%s; %s waiting behind it", state, count(waiting, "pod", "pods"))
	}
	return ok("%s; no pod is waiting behind it", state)
}
