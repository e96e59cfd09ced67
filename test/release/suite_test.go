package release

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// What the suite releases. Nobody can pull the image: it is loaded into the nodes.
const (
	version = "v0.1.0-test.1"
	image   = "registry.example.com/team/sts-webhook"
)

// suite is what the chapters share.
type suite struct {
	*kit.Suite
	source   string // a repository with one commit: the checkout as it is now
	revision string // that commit
	clone    string // a clone of it in which the release was made
	buildah  []string
}

func TestEndToEndRelease(t *testing.T) {
	s := &suite{Suite: kit.Start(t, kit.Options{Name: "release", Timeout: 30 * time.Minute, Fresh: true})}
	kit.Must(t, cluster.InstallPackages(s.Ctx, kit.Log(t), []cluster.Package{
		{Name: "buildah", File: "buildah"},
		{Name: "busybox-static", File: "busybox"},
		{Name: "qemu-user-static", File: "qemu-aarch64-static"},
	}...))
	s.commitCheckout(t)
	s.makeStorage(t)
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "what cannot be released is refused", Run: (*suite).testRefused},
		{Name: "two clones give the same bytes", Run: (*suite).testReproducible, Needed: true},
		{Name: "the Dockerfile builds for two architectures", Run: (*suite).testDockerfile, Needed: true},
		{Name: "install.yaml installs it", Run: (*suite).testInstall},
	})
}

// commitCheckout makes a repository of the files of the checkout that git does not ignore: a release is made of a commit, and
// changes that have none yet are to be tested, too.
func (s *suite) commitCheckout(t *testing.T) {
	t.Helper()
	root := strings.TrimSpace(s.run(t, ".", "git", "rev-parse", "--show-toplevel"))
	s.source = filepath.Join(t.TempDir(), "source")
	kit.Must(t, os.Mkdir(s.source, 0o755))
	for _, file := range strings.Split(s.run(t, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		from, to := filepath.Join(root, file), filepath.Join(s.source, file)
		info, err := os.Lstat(from)
		if file == "" || os.IsNotExist(err) { // deleted, but still in the index
			continue
		}
		kit.Must(t, err)
		kit.Must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		if info.Mode()&os.ModeSymlink != 0 { // the chart has one
			target, err := os.Readlink(from)
			kit.Must(t, err)
			kit.Must(t, os.Symlink(target, to))
			continue
		}
		content, err := os.ReadFile(from)
		kit.Must(t, err)
		kit.Must(t, os.WriteFile(to, content, info.Mode().Perm()))
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
	kit.Must(t, err)
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
	cmd := exec.CommandContext(s.Ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, kit.Log(t), kit.Log(t)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // buildah ends what it started
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
}

func (s *suite) try(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.Ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
