package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	// shop is a namespace in which StatefulSets have no pods, because a quota forbids them.
	shop         = "shop"
	swapped      = `{"key": "name", "even": "node2", "odd": "node1"}`
	onlyFirst    = `{"key": "name", "ordinals": {"0": "node1"}}`
	withoutNode  = `{"key": "name", "values": ["node1", "node9"]}`
	preferred    = `{"key": "name", "values": ["node1", "node2"], "whenUnsatisfiable": "ScheduleAnyway"}`
	pinnedVolume = "pv-7"
	// volumesManifest grants what --check-volumes needs.
	volumesManifest = "manifests/optional/check-volumes"
)

// testKubectl holds, byte for byte, what kubectl prints when StatefulSets are applied, and what plan prints of the same cluster.
func (s *suite) testKubectl(t *testing.T) {
	k := s.session(t)
	for _, part := range transcript() {
		k.section(part.title)
		k.apply(t, part.set)
	}
	k.brokenAlready(t)
	compareGolden(t, "testdata/kubectl.golden", k.text.String())
	for _, format := range []string{"wide", "json", "yaml"} {
		p := s.session(t)
		p.webhook(t, "plan", "statefulset", "db", "nowhere", "-n", shop, "-o", format)
		p.webhook(t, "plan", "-f", p.file(t, claiming("db", misspelt)), "--cluster", "-o", format)
		compareGolden(t, "testdata/plan."+format+".golden", p.text.String())
	}
}

func (s *suite) makeShop(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "create", "namespace", shop)
	t.Cleanup(func() {
		kit.Must(t, s.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(s.Ctx), shop, metav1.DeleteOptions{}))
	})
	s.Kubectl(t, "create", "quota", "no-pods", "--hard=pods=0", "--namespace", shop)
}

// transcript is what is applied to a cluster in which no node is named node9, and the claim of db-1 is bound.
func transcript() []section {
	bare := kit.StatefulSet("bare", 1, "")
	delete(bare.Spec.Template.Annotations, webhook.Annotation)
	unlabelled := kit.StatefulSet("unlabelled", 1, kit.ByParity)
	delete(unlabelled.Spec.Template.Labels, webhook.Label)
	own := kit.StatefulSet("own", 1, kit.ByParity)
	own.Spec.Template.Spec.NodeSelector = map[string]string{"name": "node3"}
	return []section{
		{"a mistake in a new StatefulSet is refused", kit.StatefulSet("web", 3, misspelt)},
		{"a label without the annotation is refused", bare},
		{"an ordinal in use without a value is refused", kit.StatefulSet("web", 3, onlyFirst)},
		{"a right one passes in silence", kit.StatefulSet("web", 3, kit.ByParity)},
		{"a mistake in an update is refused", kit.StatefulSet("web", 3, misspelt)},
		{"ordinals that move are named", kit.StatefulSet("web", 3, swapped)},
		{"an annotation without the label is of no effect", unlabelled},
		{"the template's own selector is overwritten", own},
		{"no node carries the label", kit.StatefulSet("nowhere", 4, withoutNode)},
		{"a claim beside a mere preference", claiming("cache", preferred)},
		{"a volume is bound elsewhere", claiming("db", kit.ByParity)},
	}
}

// brokenAlready has a StatefulSet with a mistake that was stored while nobody checked it.
func (k *session) brokenAlready(t *testing.T) {
	restore := k.withoutChecks(t)
	k.suite.Kubectl(t, "apply", "-f", k.dir+"/"+k.file(t, kit.StatefulSet("old", 1, misspelt)))
	restore()
	k.section("one that is broken already can be scaled, and changed elsewhere")
	k.kubectl(t, "scale", "statefulset", "old", "--replicas=2", "-n", shop)
	k.kubectl(t, "annotate", "statefulset", "old", "-n", shop, "owner=shop")
	k.section("also by another number in its file, of which kubectl warns")
	k.apply(t, kit.StatefulSet("old", 3, misspelt))
	k.section("its template cannot change and stay broken")
	k.kubectl(t, "set", "image", "statefulset/old", "pause=pause:2", "-n", shop)
	k.section("it can be repaired")
	k.apply(t, kit.StatefulSet("old", 3, kit.ByParity))
	k.section("it can be deleted")
	k.kubectl(t, "delete", "statefulset", "old", "-n", shop)
}

// claiming is a StatefulSet of two pods, each with a claim.
func claiming(name, annotation string) *appsv1.StatefulSet {
	set := kit.StatefulSet(name, 2, annotation)
	claim := dataClaim()
	claim.Name = "data"
	set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim}
	return set
}

func dataClaim() corev1.PersistentVolumeClaim {
	class := "none"
	return corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
	}}
}

// checkVolumes starts replicas with --check-volumes where there are none, and binds the claim of db-1 to a volume on the node of the
// even ordinals. It returns when the webhook has seen it. Later chapters take the flag and the rights away.
func (s *suite) checkVolumes(t *testing.T) {
	t.Helper()
	s.Kubectl(t, "apply", "-f", s.Path(volumesManifest))
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Configure(ctx, "--check-volumes") }))
	kit.Must(t, s.within(func(ctx context.Context) error { return s.Scale(ctx, 2) }))
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: pinnedVolume},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    dataClaim().Spec.Resources.Requests,
			AccessModes: dataClaim().Spec.AccessModes, StorageClassName: *dataClaim().Spec.StorageClassName,
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/tmp"}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{"node-1"}}},
			}}}},
		},
	}
	_, err := s.Client.CoreV1().PersistentVolumes().Create(s.Ctx, volume, metav1.CreateOptions{})
	kit.Must(t, err)
	t.Cleanup(func() {
		kit.Must(t, s.Client.CoreV1().PersistentVolumes().Delete(context.WithoutCancel(s.Ctx), pinnedVolume, metav1.DeleteOptions{}))
	})
	bound := dataClaim()
	bound.Name, bound.Spec.VolumeName = "data-db-1", pinnedVolume
	_, err = s.Client.CoreV1().PersistentVolumeClaims(shop).Create(s.Ctx, &bound, metav1.CreateOptions{})
	kit.Must(t, err)
	s.eventually(t, func() error {
		k := s.session(t)
		k.kubectl(t, "apply", "--dry-run=server", "-f", k.file(t, claiming("db", kit.ByParity)))
		if printed := k.text.String(); !strings.Contains(printed, pinnedVolume) {
			return fmt.Errorf("kubectl prints %q, want a warning of %s", printed, pinnedVolume)
		}
		return nil
	})
}
