package plan

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"sts-mutating-webhook/test/kit"
)

// replace changes StatefulSets, and deletes all their pods once the controller knows the new template. So each comes back as its
// revision has it, however far a rollout would have come.
func (s *suite) replace(t *testing.T, changed []*appsv1.StatefulSet) {
	for _, set := range changed {
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/spec/template", "value": set.Spec.Template},
			{"op": "replace", "path": "/spec/updateStrategy", "value": set.Spec.UpdateStrategy},
		})
		kit.Must(t, err)
		_, err = s.Client.AppsV1().StatefulSets(set.Namespace).Patch(s.Ctx, set.Name, types.JSONPatchType, patch, metav1.PatchOptions{})
		kit.Must(t, err)
	}
	var old []corev1.Pod
	for _, set := range changed {
		old = append(old, s.deletePods(t, set)...)
	}
	for _, pod := range old {
		s.awaitGone(t, s.pods, &pod)
	}
	for _, set := range changed { // or a refused one would be tried again only when the controller's backoff ends
		kit.Must(t, s.nudge(s.Ctx, keyOf(set)))
	}
}

// awaitGone waits until the informer knows that an object is gone; there may be another of its name.
func (s *suite) awaitGone(t *testing.T, known cache.Store, object metav1.Object) {
	s.Eventually(t, 30*time.Second, func() error {
		found, exists, _ := known.GetByKey(object.GetNamespace() + "/" + object.GetName())
		if exists && found.(metav1.Object).GetUID() == object.GetUID() {
			return fmt.Errorf("%s is still there", object.GetName())
		}
		return nil
	})
}

// deletePods deletes the pods of a StatefulSet, and the events about refused ones, which say nothing of the new template. It
// returns the pods.
func (s *suite) deletePods(t *testing.T, set *appsv1.StatefulSet) []corev1.Pod {
	var live *appsv1.StatefulSet
	s.Eventually(t, 30*time.Second, func() (err error) {
		live, err = s.Client.AppsV1().StatefulSets(set.Namespace).Get(s.Ctx, set.Name, metav1.GetOptions{})
		if err == nil && live.Status.ObservedGeneration < live.Generation {
			err = fmt.Errorf("the controller has not seen the new template of %s", set.Name)
		}
		return err
	})
	events := metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.uid=" + string(live.UID)}
	refusals, err := s.Client.CoreV1().Events(set.Namespace).List(s.Ctx, events)
	kit.Must(t, err)
	kit.Must(t, s.Client.CoreV1().Events(set.Namespace).DeleteCollection(s.Ctx, metav1.DeleteOptions{}, events))
	for _, event := range refusals.Items {
		s.awaitGone(t, s.events, &event)
	}
	selector := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(set.Spec.Selector)}
	pods, err := s.Client.CoreV1().Pods(set.Namespace).List(s.Ctx, selector)
	kit.Must(t, err)
	kit.Must(t, s.Client.CoreV1().Pods(set.Namespace).DeleteCollection(s.Ctx, *metav1.NewDeleteOptions(0), selector))
	return pods.Items
}

// bindClaims makes the claims that the pods will find, each bound to a volume that only the nodes of one zone reach.
func (s *suite) bindClaims(t *testing.T, sets []*appsv1.StatefulSet) {
	var made []*corev1.PersistentVolumeClaim
	for _, set := range sets {
		for i := range *set.Spec.Replicas * int32(len(set.Spec.VolumeClaimTemplates)) { // there is one template, or none
			made = append(made, s.createClaim(t, set.Namespace, fmt.Sprintf("data-%s-%d", set.Name, first(set)+i)))
		}
	}
	for _, claim := range made {
		s.Eventually(t, time.Minute, func() error {
			found, err := s.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(s.Ctx, claim.Name, metav1.GetOptions{})
			if err == nil && found.Status.Phase != corev1.ClaimBound {
				err = fmt.Errorf("claim %s is %s", claim.Name, found.Status.Phase)
			}
			return err
		})
	}
}

func (s *suite) createClaim(t *testing.T, namespace, name string) *corev1.PersistentVolumeClaim {
	hash := fnv.New32()
	fmt.Fprint(hash, name) // the same zone in every run
	zones := labelValues["zone"]
	claim := claimTemplate()
	claim.Name, claim.Spec.VolumeName = name, namespace+"-"+name
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: claim.Spec.VolumeName},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: claim.Spec.Resources.Requests, AccessModes: claim.Spec.AccessModes, StorageClassName: storageClass,
			ClaimRef:               &corev1.ObjectReference{Namespace: namespace, Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/tmp"}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{zones[int(hash.Sum32())%len(zones)]},
				}},
			}}}},
		},
	}
	_, err := s.Client.CoreV1().PersistentVolumes().Create(s.Ctx, volume, metav1.CreateOptions{})
	kit.Must(t, err)
	created, err := s.Client.CoreV1().PersistentVolumeClaims(namespace).Create(s.Ctx, &claim, metav1.CreateOptions{})
	kit.Must(t, err)
	return created
}
