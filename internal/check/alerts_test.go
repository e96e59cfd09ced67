package check

import (
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/alert"
)

func TestAlertsLine(t *testing.T) {
	another := SecretKey{Secret: "robot", Key: "address"}
	expectLines(t, map[string]line{
		"no Secret": {func(s *Snapshot) { s.AlertURL.Err = notFound("secrets", "sts-webhook-dingtalk") }, "alerts", OK,
			"off: Secret custom-system/sts-webhook-dingtalk does not exist", ""},
		"no key": {func(s *Snapshot) { s.AlertURL.Value = false }, "alerts", Warning, "off: Secret custom-system/sts-webhook-dingtalk has no key url",
			"create it as README.md says, section Alerts to DingTalk"},
		"forbidden": {func(s *Snapshot) { s.AlertURL.Err = forbidden("get", "secrets") }, "alerts", Warning,
			"not checked: it is forbidden to get Secret custom-system/sts-webhook-dingtalk", otherKubeconfig},
		"another Secret": {func(s *Snapshot) { s.AlertKey = another }, "alerts", OK,
			"on: Secret custom-system/robot has the key address; sts-webhook alert-test sends a message", ""},
		"no Secret is mounted": {func(s *Snapshot) { s.AlertKey = SecretKey{} }, "alerts", Warning,
			"not checked: --dingtalk-url-file=/etc/sts-webhook/dingtalk/url is not mounted from a Secret", "run sts-webhook alert-test in a replica, which sends a message"},
	})
}

// deploymentWith mounts volumes in the webhook's container.
func deploymentWith(mounts []corev1.VolumeMount, volumes ...corev1.Volume) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Spec.Template.Spec = corev1.PodSpec{Containers: []corev1.Container{{Name: "sidecar"}, {Name: name, VolumeMounts: mounts}}, Volumes: volumes}
	return d
}

func TestAlertKey(t *testing.T) {
	const file = "/etc/dingtalk/url"
	at := func(path, subPath string) []corev1.VolumeMount {
		return []corev1.VolumeMount{{Name: "other", MountPath: "/var"}, {Name: "alerts", MountPath: path, SubPath: subPath}}
	}
	secret := func(items ...corev1.KeyToPath) corev1.Volume {
		return corev1.Volume{Name: "alerts", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "robot", Items: items}}}
	}
	projected := func(sources ...corev1.VolumeProjection) corev1.Volume {
		return corev1.Volume{Name: "alerts", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}
	}
	projection := func(name string, items ...corev1.KeyToPath) corev1.VolumeProjection {
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: items}}
	}
	empty := corev1.Volume{Name: "alerts", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	url, renamed, elsewhere := SecretKey{"robot", "url"}, corev1.KeyToPath{Key: "address", Path: "url"}, corev1.KeyToPath{Key: "secret", Path: "secret"}
	for name, test := range map[string]struct {
		deployment *appsv1.Deployment
		want       SecretKey
	}{
		"no Deployment":                  {nil, manifestsAlertURL},
		"a Deployment without container": {&appsv1.Deployment{}, SecretKey{}},
		"a Secret":                       {deploymentWith(at("/etc/dingtalk", ""), secret()), url},
		"a Secret with a slash":          {deploymentWith(at("/etc/dingtalk/", ""), secret()), url},
		"a Secret mounted as a file":     {deploymentWith(at(file, "url"), secret()), url},
		"one key of a Secret":            {deploymentWith(at("/etc/dingtalk", ""), secret(elsewhere, renamed)), SecretKey{"robot", "address"}},
		"another key of a Secret":        {deploymentWith(at("/etc/dingtalk", ""), secret(elsewhere)), SecretKey{}},
		"a projected Secret": {
			deploymentWith(at("/etc/dingtalk", ""), projected(corev1.VolumeProjection{}, projection("other", elsewhere), projection("robot", renamed))), SecretKey{"robot", "address"},
		},
		"a projected Secret with all its keys": {deploymentWith(at("/etc/dingtalk", ""), projected(projection("robot"))), url},
		"another directory":                    {deploymentWith(at("/etc/ding", ""), secret()), SecretKey{}},
		"no Secret":                            {deploymentWith(at("/etc/dingtalk", ""), empty), SecretKey{}},
		"no such volume":                       {deploymentWith(at("/etc/dingtalk", "")), SecretKey{}},
		"no Secret inside the directory of one": {
			deploymentWith(append(at("/etc", ""), corev1.VolumeMount{Name: "inner", MountPath: "/etc/dingtalk"}), secret()), SecretKey{},
		},
		"the same, named before it": {
			deploymentWith(append([]corev1.VolumeMount{{Name: "inner", MountPath: "/etc/dingtalk"}}, at("/etc", "")...), secret()), SecretKey{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := alertKey(test.deployment, file); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAlertKeyOfTheManifests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "manifests", "40-deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if got := alertKey(&d, alert.DefaultURLFile); got != manifestsAlertURL {
		t.Errorf("got %+v, want %+v", got, manifestsAlertURL)
	}
}

func TestSnapshotFindsTheSecretOfTheAlerts(t *testing.T) {
	all := objects(t)
	template := &all[0].(*appsv1.Deployment).Spec.Template.Spec
	template.Volumes[0].Secret.SecretName = "robot"
	s := apiserver(all).Snapshot(t.Context(), options())
	if got, want := alerts(s).Message, "off: Secret custom-system/robot does not exist"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	robot := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: "robot"}, Data: map[string][]byte{"url": []byte("PRIVATE")}}
	s = apiserver(append([]client.Object{robot}, all...)).Snapshot(t.Context(), options())
	if got, want := alerts(s).Message, "on: Secret custom-system/robot has the key url; sts-webhook alert-test sends a message"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
