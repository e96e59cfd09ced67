package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// plugin builds the program as a kubectl plugin, and returns its directory.
func (s *suite) plugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kit.Must(t, cluster.Compile(s.Ctx, ".", filepath.Join(dir, "kubectl-sts_webhook")))
	return dir
}

// runPlugin runs "kubectl sts-webhook" as administrator, and returns what it prints and its exit code.
func (s *suite) runPlugin(t *testing.T, plugin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	// kubectl takes no flag before the name of a plugin, so the kubeconfig is a variable.
	argv := s.Cluster.KubectlCommand()
	last := len(argv) - 1
	argv = append(argv[:last-1:last-1], "env", "KUBECONFIG="+s.Cluster.Kubeconfig(), "PATH="+plugin+":"+os.Getenv("PATH"), argv[last-1], "sts-webhook")
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(s.Ctx, argv[0], append(argv[1:], args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = exit.ExitCode(), nil
	}
	kit.Must(t, err)
	t.Logf("kubectl sts-webhook %v: exit code %d\n%s%s", args, code, out.String(), errs.String())
	return out.String(), errs.String(), code
}

// asController is a client that is the StatefulSet controller to the apiserver, and so to its audit policy.
func (s *suite) asController(t *testing.T) kubernetes.Interface {
	t.Helper()
	minutes := int64(600)
	token, err := s.Client.CoreV1().ServiceAccounts("kube-system").CreateToken(s.Ctx, "statefulset-controller",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &minutes}}, metav1.CreateOptions{})
	kit.Must(t, err)
	config := rest.AnonymousClientConfig(s.Cluster.RESTConfig())
	config.BearerToken = token.Status.Token
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	return client
}

// A mistake on the command line shows that the program knows that it is a plugin.
func (s *suite) testPlugin(t *testing.T) {
	plugin := s.plugin(t)
	stdout, _, code := s.runPlugin(t, plugin, "help")
	if want := "kubectl sts-webhook audit -A"; code != 0 || !bytes.Contains([]byte(stdout), []byte(want)) {
		t.Errorf("help: got exit code %d, stdout %q, want %q in it", code, stdout, want)
	}
}
