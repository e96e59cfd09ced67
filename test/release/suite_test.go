package release

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
)

// What the suite releases. Nobody can pull the image: it is loaded into the nodes.
const (
	version = "v0.1.0-test.1"
	image   = "registry.example.com/team/sts-webhook"
)

// suite is what the chapters share.
type suite struct {
	ctx      context.Context
	source   string // a repository with one commit: the checkout as it is now
	revision string // that commit
	clone    string // a clone of it in which the release was made
	buildah  []string
}

func TestEndToEndRelease(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test installs packages and brings up a real cluster; set TEST_CLUSTER=1 (make test-release) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	s := &suite{ctx: ctx}
	must(t, cluster.InstallPackages(ctx, testLog{t}, []cluster.Package{
		{Name: "buildah", File: "buildah"},
		{Name: "busybox-static", File: "busybox"},
		{Name: "qemu-user-static", File: "qemu-aarch64-static"},
	}...))
	s.commitCheckout(t)
	s.makeStorage(t)
	for _, chapter := range []struct {
		name string
		run  func(*suite, *testing.T)
	}{
		{"what cannot be released is refused", (*suite).testRefused},
		{"two clones give the same bytes", (*suite).testReproducible},
		{"the Dockerfile builds for two architectures", (*suite).testDockerfile},
		{"install.yaml installs it", (*suite).testInstall},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.run(s, t) }) {
			t.Fatal("the later chapters use what this one makes")
		}
	}
}

// commitCheckout makes a repository of the files of the checkout that git does not ignore: a release is made of a commit, and
// changes that have none yet are to be tested, too.
func (s *suite) commitCheckout(t *testing.T) {
	t.Helper()
	root := strings.TrimSpace(s.run(t, ".", "git", "rev-parse", "--show-toplevel"))
	s.source = filepath.Join(t.TempDir(), "source")
	must(t, os.Mkdir(s.source, 0o755))
	for _, file := range strings.Split(s.run(t, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		from, to := filepath.Join(root, file), filepath.Join(s.source, file)
		info, err := os.Stat(from)
		if file == "" || os.IsNotExist(err) { // deleted, but still in the index
			continue
		}
		must(t, err)
		content, err := os.ReadFile(from)
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.WriteFile(to, content, info.Mode().Perm()))
	}
	s.run(t, s.source, "git", "init", "--quiet")
	s.run(t, s.source, "git", "add", "--all")
	s.run(t, s.source, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", "all")
	s.revision = strings.TrimSpace(s.run(t, s.source, "git", "rev-parse", "HEAD"))
}

// cloneTo clones the repository into a new directory whose path has the given end.
func (s *suite) cloneTo(t *testing.T, end string) string {
	t.Helper()
	clone := filepath.Join(filepath.Dir(s.source), end)
	s.run(t, ".", "git", "clone", "--quiet", s.source, clone)
	return clone
}

// makeStorage gives buildah a place of its own. These options work in a container, too: no overlay file system.
func (s *suite) makeStorage(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sts-webhook-buildah")
	must(t, err)
	s.buildah = []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "runroot"), "--storage-driver", "vfs"}
	t.Cleanup(func() {
		// Containers are unmounted before their files are deleted.
		out, err := exec.Command("buildah", append(s.buildah, "rm", "--all")...).CombinedOutput()
		if err == nil {
			err = os.RemoveAll(dir)
		}
		if err != nil {
			t.Errorf("remove buildah's storage %s: %v\n%s", dir, err, out)
		}
	})
}

// run runs a program in a directory and returns what it prints.
func (s *suite) run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := s.try(dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// stream does the same for what takes long, and logs what it prints as it comes.
func (s *suite) stream(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, testLog{t}, testLog{t}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // buildah ends what it started
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
}

func (s *suite) try(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually polls until done returns nil.
func (s *suite) eventually(t *testing.T, limit time.Duration, done func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.ctx, 100*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = done()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("after %s: %v", limit, last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog passes whole lines to the test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
