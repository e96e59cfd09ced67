package check

import (
	"context"
	"path"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SecretKey names a value of a Secret in the webhook's namespace.
type SecretKey struct{ Secret, Key string }

// manifestsAlertURL is where manifests/ have the robot's address.
var manifestsAlertURL = SecretKey{Secret: "sts-webhook-dingtalk", Key: "url"}

// alerts says whether there is an address to send them to.
func alerts(s *Snapshot) Result {
	key := s.AlertKey
	switch {
	case key == SecretKey{}:
		return warning("run sts-webhook alert-test in a replica, which sends a message",
			"not checked: --dingtalk-url-file=%s is not mounted from a Secret", s.Flags.Value.AlertURLFile)
	case apierrors.IsNotFound(s.AlertURL.Err):
		return ok("off: Secret %s/%s does not exist", Namespace, key.Secret)
	case s.AlertURL.Err != nil:
		return unread("get Secret "+Namespace+"/"+key.Secret, s.AlertURL.Err)
	case !s.AlertURL.Value:
		return warning("create it as README.md says, section Alerts to DingTalk", "off: Secret %s/%s has no key %s", Namespace, key.Secret, key.Key)
	}
	return ok("on: Secret %s/%s has the key %s; sts-webhook alert-test sends a message", Namespace, key.Secret, key.Key)
}

// alertKey returns the key that the kubelet mounts as the file, or the zero value if no Secret is mounted there. Without a
// Deployment it is that of manifests/.
func alertKey(d *appsv1.Deployment, file string) SecretKey {
	if d == nil {
		return manifestsAlertURL
	}
	container := webhookContainer(d)
	if container == nil {
		return SecretKey{}
	}
	var found SecretKey
	longest := -1 // of the mounts that the file is below, the deepest has it
	for _, mount := range container.VolumeMounts {
		below, isBelow := cutPath(file, mount.MountPath)
		if !isBelow || len(path.Clean(mount.MountPath)) <= longest {
			continue
		}
		longest = len(path.Clean(mount.MountPath))
		found = keyAt(d.Spec.Template.Spec.Volumes, mount.Name, path.Join(mount.SubPath, below))
	}
	return found
}

// cutPath returns what follows a directory in a path; a file is below itself.
func cutPath(file, dir string) (string, bool) {
	file, dir = path.Clean(file), path.Clean(dir)
	if file == dir {
		return "", true
	}
	return strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/")
}

// keyAt returns the key that a volume has at a path.
func keyAt(volumes []corev1.Volume, name, at string) SecretKey {
	for _, v := range volumes {
		switch {
		case v.Name != name:
		case v.Secret != nil:
			return keyOf(v.Secret.SecretName, v.Secret.Items, at)
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				if source.Secret == nil {
					continue
				}
				if key := keyOf(source.Secret.Name, source.Secret.Items, at); len(source.Secret.Items) == 0 || key.Key != "" {
					return key
				}
			}
		}
	}
	return SecretKey{}
}

// keyOf returns the key of a Secret that is mounted at a path: without items each key has its own name.
func keyOf(secret string, items []corev1.KeyToPath, at string) SecretKey {
	if len(items) == 0 {
		return SecretKey{Secret: secret, Key: at}
	}
	for _, item := range items {
		if path.Clean(item.Path) == at {
			return SecretKey{Secret: secret, Key: item.Key}
		}
	}
	return SecretKey{}
}

// hasValue reports whether a key of a Secret has a value, and forgets it at once.
func (c *Cluster) hasValue(key SecretKey) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		if key == (SecretKey{}) {
			return false, nil
		}
		var secret corev1.Secret
		err := c.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: key.Secret}, &secret)
		return len(secret.Data[key.Key]) > 0, err
	}
}
