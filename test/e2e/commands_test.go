package e2e

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/kit"
)

// pluginName is what kubectl finds on PATH for "kubectl sts-webhook".
const pluginName = "kubectl-sts_webhook"

// runPlugin runs "kubectl sts-webhook" as administrator, and returns what it prints and its exit code.
func (s *suite) runPlugin(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	// kubectl takes no flag before the name of a plugin, so the kubeconfig is a variable.
	argv := s.Cluster.KubectlCommand()
	last := len(argv) - 1
	env := []string{"env", "KUBECONFIG=" + s.Cluster.Kubeconfig(), "PATH=" + s.plugin + ":" + os.Getenv("PATH")}
	argv = slices.Concat(argv[:last-1], env, []string{argv[last-1], "sts-webhook"}, args)
	var out, errs strings.Builder
	cmd := exec.CommandContext(s.Ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	kit.Must(t, err)
	t.Logf("kubectl sts-webhook %v: exit code %d\n%s%s", args, code, &out, &errs)
	return out.String(), errs.String(), code
}

// asController is a client that is the StatefulSet controller to the apiserver, and so to its audit policy.
func (s *suite) asController(t *testing.T) kubernetes.Interface {
	t.Helper()
	token := s.Kubectl(t, "create", "token", "statefulset-controller", "--namespace=kube-system")
	config := rest.AnonymousClientConfig(s.Cluster.RESTConfig())
	config.BearerToken = strings.TrimSpace(token)
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	return client
}

// A mistake on the command line shows that the program knows that it is a plugin.
func (s *suite) testPlugin(t *testing.T) {
	stdout, _, code := s.runPlugin(t, "help")
	if want := "kubectl sts-webhook audit -A"; code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("help: got exit code %d, stdout %q, want %q in it", code, stdout, want)
	}
}
