package check

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const readDeployment = "get Deployment " + Namespace + "/" + name

// versions compares what the replicas run with this program.
func versions(s *Snapshot) Result {
	if s.Pods.Err != nil {
		return unread("list the pods of namespace "+Namespace, s.Pods.Err)
	}
	var images, builds []string
	for _, pod := range serving(s.Pods.Value) {
		for _, c := range pod.Spec.Containers {
			if c.Name == name && !slices.Contains(images, c.Image) {
				images = append(images, c.Image)
			}
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.Name == name && c.ImageID != "" && !slices.Contains(builds, c.ImageID) {
				builds = append(builds, c.ImageID)
			}
		}
	}
	slices.Sort(images)
	slices.Sort(builds)
	switch {
	case len(images) == 0:
		return warning(applyManifests+", and see the line of the replicas", "no pod runs the container %s, this program is %s", name, s.Program)
	case len(images) > 1:
		return warning("kubectl -n custom-system rollout status deployment/sts-webhook", "replicas run the images %s, this program is %s", list(images), s.Program)
	case len(builds) > 1:
		return warning("give each version a tag of its own, then kubectl -n custom-system rollout restart deployment/sts-webhook",
			"the tag of %s stands for different images on different nodes: %s", images[0], list(builds))
	}
	const differ = "use the program of the same version, or read CHANGELOG.md and upgrade"
	reported := s.Versions.Value
	switch {
	case len(reported) == 0:
		return compareTag(images[0], s.Program, differ)
	case len(reported) == 1 && reported[0] == s.Program:
		return ok("replicas run %s (image %s), as does this program", reported[0], images[0])
	}
	return warning(differ, "replicas run %s (image %s), this program is %s", list(reported), images[0], s.Program)
}

// compareTag is for those who may not read the replicas' metrics.
func compareTag(image, program, differ string) Result {
	tag := tagOf(image)
	switch {
	case strings.TrimPrefix(tag, "v") == strings.TrimPrefix(program, "v"):
		return ok("replicas run image %s, as does this program", image)
	case !strings.ContainsAny(tag, "0123456789"):
		return ok("replicas run image %s, which names no version, and their metrics cannot be read; this program is %s", image, program)
	}
	return warning(differ, "replicas run image %s, this program is %s", image, program)
}

// tagOf is empty for an image that is named by its digest alone.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return tag
}

// serving leaves out replicas that end or have ended.
func serving(pods []corev1.Pod) (kept []corev1.Pod) {
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodFailed && pod.Status.Phase != corev1.PodSucceeded {
			kept = append(kept, pod)
		}
	}
	return kept
}

// replicas looks at how many are ready and where they run.
func replicas(s *Snapshot) Result {
	switch {
	case apierrors.IsNotFound(s.Deployment.Err):
		return problem(applyManifests, "Deployment %s/%s does not exist", Namespace, name)
	case s.Deployment.Err != nil:
		return unread(readDeployment, s.Deployment.Err)
	case s.Pods.Err != nil:
		return unread("list the pods of namespace "+Namespace, s.Pods.Err)
	}
	wanted := 1
	if n := s.Deployment.Value.Spec.Replicas; n != nil {
		wanted = int(*n)
	}
	ready, nodes, why := 0, []string{}, ""
	for _, pod := range serving(s.Pods.Value) {
		if !isReady(&pod) {
			if why == "" {
				why = reasonOf(&pod)
			}
			continue
		}
		ready++
		if !slices.Contains(nodes, pod.Spec.NodeName) {
			nodes = append(nodes, pod.Spec.NodeName)
		}
	}
	state := fmt.Sprintf("%d of %d ready", ready, wanted)
	if ready > 0 {
		state += " on " + count(len(nodes), "node", "nodes")
	}
	const scale = "kubectl -n custom-system scale deployment/sts-webhook --replicas=2"
	switch {
	case ready == 0 && wanted == 0:
		return problem(scale, "%s: opted-in pods are refused, or wait behind the gate", state)
	case ready == 0:
		return problem(describePods+": the readiness probe's message says why", "%s%s", state, why)
	case ready < wanted:
		return warning("kubectl -n custom-system rollout status deployment/sts-webhook", "%s%s", state, why)
	case ready == 1:
		return warning(scale, "%s: whenever it restarts, opted-in pods are refused", state)
	case len(nodes) == 1:
		return warning("kubectl -n custom-system rollout restart deployment/sts-webhook, once there is another node", "%s, %s: its loss takes all of them", state, nodes[0])
	}
	return ok("%s", state)
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// reasonOf says why a pod does not run, as in "; web-1: ImagePullBackOff: no such image". Empty: it runs and is not ready.
func reasonOf(pod *corev1.Pod) string {
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return fmt.Sprintf("; %s: %s: %s", pod.Name, w.Reason, w.Message)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("; %s: %s: %s", pod.Name, c.Reason, c.Message)
		}
	}
	return ""
}
