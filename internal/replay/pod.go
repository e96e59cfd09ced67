package replay

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	kjson "sigs.k8s.io/json"

	"sts-mutating-webhook/internal/plan"
)

// Decision is what became of a pod, or would become.
type Decision struct {
	// Denied is the text of the denial; empty if the pod was let through.
	Denied string `json:"denied"`
	// Place is what the pod's spec holds; empty if it is denied. No slice or map of it is nil.
	plan.Place
}

func (d *Decision) same(other *Decision) bool {
	if d.Denied != "" || other.Denied != "" {
		return d.Denied != "" && other.Denied != ""
	}
	return equality.Semantic.DeepEqual(d.Place, other.Place)
}

// String is for a table, which has no room for the text of a denial.
func (d *Decision) String() string {
	if d.Denied != "" {
		return "<denied>"
	}
	if len(d.Tolerations) == 0 {
		return d.Place.String()
	}
	return d.Place.String() + ", tolerates " + plan.TolerationsText(d.Tolerations)
}

func denied(message string) *Decision {
	return &Decision{Denied: message, Place: plan.Place{
		NodeSelector: map[string]string{}, Tolerations: []corev1.Toleration{}, Preferred: []corev1.PreferredSchedulingTerm{},
	}}
}

// decided is how a pod is placed, in JSON.
func decided(pod []byte) (*Decision, error) {
	var read corev1.Pod
	if err := kjson.UnmarshalCaseSensitivePreserveInts(pod, &read); err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	d := denied("")
	maps.Copy(d.NodeSelector, read.Spec.NodeSelector)
	d.Tolerations = append(d.Tolerations, read.Spec.Tolerations...)
	if a := read.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		d.Preferred = append(d.Preferred, a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution...)
	}
	return d, nil
}

// patched applies what matters of a patch to a pod. The API server's plugins may have added what the patch builds upon, such as
// the first toleration, so what is missing on the way is created. ours means that the patch is our webhook's: it replaces
// only whole members, which then need not exist.
func patched(pod []byte, patch json.RawMessage, ours bool) ([]byte, error) {
	if patch == nil {
		return pod, nil
	}
	all, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("read patch: %w", err)
	}
	var operations jsonpatch.Patch
	for _, o := range all {
		path, err := o.Path()
		if err != nil {
			return nil, fmt.Errorf("read patch: %w", err)
		}
		if !matters(path) || o.Kind() == "test" {
			continue
		}
		if largeIndex(path) {
			return nil, fmt.Errorf("patch %q: its index is too large", path)
		}
		if ours && o.Kind() == "replace" {
			add := json.RawMessage(`"add"`)
			o["op"] = &add
		}
		operations = append(operations, o)
	}
	options := jsonpatch.NewApplyOptions()
	options.EnsurePathExistsOnAdd, options.AllowMissingPathOnRemove = true, true
	pod, err = operations.ApplyWithOptions(pod, options)
	if err != nil {
		return nil, fmt.Errorf("apply patch: %w", err)
	}
	return pod, nil
}

// matters reports whether an operation on that path can change what is decided.
func matters(path string) bool {
	for _, member := range []string{"/metadata", "/spec/nodeSelector", "/spec/affinity", "/spec/tolerations"} {
		if path == member || strings.HasPrefix(path, member+"/") || strings.HasPrefix(member, path+"/") {
			return true
		}
	}
	return false
}

// largeIndex reports whether a patch names an element that no list of a pod has: the lists would be filled up to it.
func largeIndex(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if len(part) > 3 && strings.Trim(part, "0123456789") == "" {
			return true
		}
	}
	return false
}
