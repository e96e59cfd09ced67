package plan

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tolerations are what templates may hold.
var tolerations = []corev1.Toleration{
	{Operator: corev1.TolerationOpExists},
	{Key: "pool", Operator: corev1.TolerationOpExists},
	{Key: "pool", Operator: corev1.TolerationOpEqual, Value: "db", Effect: corev1.TaintEffectNoSchedule},
	{Key: "pool", Value: "web"},
	{Key: "host", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: "maintenance", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	{Key: "maintenance", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(86400))},
	{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: new(int64(60))},
}

// randomTerm is a term of node affinity.
func randomTerm(r *rand.Rand) corev1.NodeSelectorTerm {
	if chance(r, 10) {
		return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{
			Key: metav1.ObjectNameField, Operator: pick(r, []corev1.NodeSelectorOperator{corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn}),
			Values: []string{fmt.Sprintf("fake-%d", r.IntN(nodeCount))},
		}}}
	}
	var term corev1.NodeSelectorTerm
	for range 1 + r.IntN(2) {
		key := pick(r, labelKeys)
		req := corev1.NodeSelectorRequirement{Key: key, Operator: pick(r, []corev1.NodeSelectorOperator{
			corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist, corev1.NodeSelectorOpGt,
		})}
		switch req.Operator {
		case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
			req.Values = []string{randomValue(r, key), randomValue(r, key)}
		case corev1.NodeSelectorOpGt:
			req.Key, req.Values = "cores", []string{"12"}
		}
		term.MatchExpressions = append(term.MatchExpressions, req)
	}
	return term
}

func nodeAffinity(spec *corev1.PodSpec) *corev1.NodeAffinity {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
	}
	return spec.Affinity.NodeAffinity
}

// Claims bind only to volumes that are there already; see bindClaims.
const storageClass = "plan-test"

func claimTemplate() corev1.PersistentVolumeClaim {
	class := storageClass
	return corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}
}
