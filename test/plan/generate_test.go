package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/webhook"
)

// sample is a random StatefulSet.
type sample struct {
	index int
	set   *appsv1.StatefulSet
	// next is what the StatefulSet is changed to once its pods are there; nil: nothing.
	next    *appsv1.StatefulSet
	classes map[string]bool
}

// classes are what a run of at least a hundred samples must have had.
var classes = []string{
	"even/odd", "values", "ordinals", "value", "several rules", "ScheduleAnyway", "tolerate", "a mistake", "no annotation", "no label",
	"ordinals.start", "no replicas", "OrderedReady", "Parallel", "a partition", "OnDelete", "a long name", "a namespace that is not sent",
	"own nodeSelector", "own tolerations", "own preferred affinity", "own required affinity", "own nodeName", "a claim",
}

func (s *sample) is(class string) { s.classes[class] = true }

// generate makes a sample from the seed and its index alone.
func generate(seed uint64, index int) *sample {
	r := rand.New(rand.NewPCG(seed, uint64(index)))
	s := &sample{index: index, classes: map[string]bool{}}
	replicas := int32(1 + r.IntN(6))
	if chance(r, 4) {
		replicas = 0
		s.is("no replicas")
	}
	labels := map[string]string{"set": fmt.Sprint(index)}
	set := &appsv1.StatefulSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{Name: s.randomName(r)},
		Spec:       appsv1.StatefulSetSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, PodManagementPolicy: appsv1.ParallelPodManagement},
	}
	if chance(r, 5) {
		set.Namespace = metav1.NamespaceSystem
		s.is("a namespace that is not sent")
	}
	if chance(r, 40) {
		set.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	s.is(string(set.Spec.PodManagementPolicy))
	first := 0
	if chance(r, 40) {
		first = 1 + r.IntN(60)
		if chance(r, 10) {
			first = 2147483647 - int(replicas)
		}
		set.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: int32(first)}
		s.is("ordinals.start")
	}
	if chance(r, 12) && first < 1000 {
		set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claimTemplate()}
		s.is("a claim")
	}
	set.Spec.Template = s.randomTemplate(r, labels, first, int(replicas))
	s.set = set
	s.change(r, first)
	return s
}

// randomName is now and then longer than what the labels of pods have room for.
func (s *sample) randomName(r *rand.Rand) string {
	name := fmt.Sprintf("s%d", s.index)
	if chance(r, 5) {
		s.is("a long name")
		name += strings.Repeat("x", 50+r.IntN(14)-len(name))
	}
	return name
}

// change makes next, for a part of the samples: another template, with a partition or OnDelete.
func (s *sample) change(r *rand.Rand, first int) {
	if !chance(r, 35) {
		return
	}
	strategy := appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
	if chance(r, 80) {
		partition := int32(r.IntN(int(*s.set.Spec.Replicas) + 2))
		strategy = appsv1.StatefulSetUpdateStrategy{
			Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &partition},
		}
		s.is("a partition")
	} else {
		s.is("OnDelete")
	}
	s.next = s.set.DeepCopy()
	s.next.Spec.UpdateStrategy = strategy
	s.next.Spec.Template = s.randomTemplate(r, s.set.Spec.Selector.MatchLabels, first, int(*s.set.Spec.Replicas))
}

func (s *sample) randomTemplate(r *rand.Rand, labels map[string]string, first, replicas int) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{webhook.Label: "true"}, Annotations: map[string]string{}},
		Spec: corev1.PodSpec{
			// No kubelet ends the pods of fake nodes.
			TerminationGracePeriodSeconds: new(int64),
			Containers:                    []corev1.Container{{Name: "pause", Image: cluster.PauseImage, ImagePullPolicy: corev1.PullIfNotPresent}},
		},
	}
	maps.Copy(t.Labels, labels)
	annotation := s.randomRules(r, first, replicas)
	if chance(r, 10) {
		annotation = pick(r, mistakes)
		s.is("a mistake")
	}
	t.Annotations[webhook.Annotation] = annotation
	switch {
	case chance(r, 4):
		delete(t.Annotations, webhook.Annotation)
		s.is("no annotation")
	case chance(r, 4):
		delete(t.Labels, webhook.Label)
		s.is("no label")
	}
	s.own(r, &t.Spec)
	return t
}

// own adds what a template says of its nodes by itself.
func (s *sample) own(r *rand.Rand, spec *corev1.PodSpec) {
	keys := append([]string{"rack"}, labelKeys...)
	if chance(r, 25) {
		key := pick(r, keys)
		spec.NodeSelector = map[string]string{key: randomValue(r, key)}
		s.is("own nodeSelector")
	}
	if chance(r, 30) {
		spec.Tolerations = append(spec.Tolerations, pick(r, tolerations))
		s.is("own tolerations")
	}
	if chance(r, 20) {
		term := corev1.PreferredSchedulingTerm{Weight: int32(1 + r.IntN(100)), Preference: randomTerm(r)}
		nodeAffinity(spec).PreferredDuringSchedulingIgnoredDuringExecution = []corev1.PreferredSchedulingTerm{term}
		s.is("own preferred affinity")
	}
	if chance(r, 20) {
		terms := []corev1.NodeSelectorTerm{randomTerm(r)}
		if chance(r, 30) {
			terms = append(terms, randomTerm(r))
		}
		nodeAffinity(spec).RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: terms}
		s.is("own required affinity")
	}
	if chance(r, 3) {
		spec.NodeName = fmt.Sprintf("fake-%d", r.IntN(nodeCount))
		// Where pods are evicted, this one would be created again for ever.
		spec.Tolerations = append(spec.Tolerations, corev1.Toleration{Key: "maintenance", Operator: corev1.TolerationOpExists})
		s.is("own nodeName")
	}
}
