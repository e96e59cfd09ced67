package cluster

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startCLI starts "cluster up" as a user would and returns when it printed the
// step that contains text.
func startCLI(ctx context.Context, t *testing.T, name, text string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cluster")
	if err := Compile(ctx, "test/cluster/cmd/cluster", binary); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, binary, "--name", name, "up")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		printed = append(printed, lines.Text())
		if strings.Contains(lines.Text(), text) {
			return cmd
		}
	}
	t.Fatalf("cluster up never printed %q: %v\n%s", text, cmd.Wait(), strings.Join(printed, "\n"))
	return nil
}

func TestClusterSurvivesKilledUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "killed")
	for _, step := range []string{"certificates made", "control plane ready"} {
		cmd := startCLI(ctx, t, name, step)
		if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		t.Logf("killed after %q", step)
	}
	bringUp(ctx, t, name, 3)
}

func TestClusterDownAfterKilledUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "killed")
	cmd := startCLI(ctx, t, name, "container runtimes ready")
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if c, err := open(name); err != nil || len(groupPIDs(c.cgroups, c.group(""))) == 0 {
		t.Fatalf("the killed run left no process, so there is nothing to test: %v", err)
	}
	if err := Down(ctx, name); err != nil {
		t.Fatal(err)
	}
	expectNothingLeft(t, name)
	if err := Down(ctx, name); err != nil {
		t.Errorf("a second Down: %v", err)
	}
}

func TestClusterInterruptedUpCleansUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "interrupted")
	cmd := startCLI(ctx, t, name, "control plane ready")
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("interrupted cluster up: got %v, want exit status 1", err)
	}
	expectNothingLeft(t, name)
	if err := os.RemoveAll(filepath.Join(stateRoot, ".failed-"+name)); err != nil {
		t.Error(err)
	}
}

// expectNothingLeft looks for anything of the cluster that the machine still has.
func expectNothingLeft(t *testing.T, name string) {
	t.Helper()
	c, err := open(name)
	if err != nil {
		t.Fatal(err)
	}
	// A killed process leaves its cgroup a moment before its last trace in /proc.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var processes []string
	if err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		processes = processesOf(name)
		return len(processes) == 0, nil
	}); err != nil {
		t.Errorf("processes left: %v", processes)
	}
	for _, h := range c.cgroups {
		if dirs := groupsBelow(h, c.group("")); len(dirs) > 0 {
			t.Errorf("cgroups left: %v", dirs)
		}
	}
	if names, err := c.netnsNames(); err != nil || len(names) > 0 {
		t.Errorf("network namespaces left: %v, %v", names, err)
	}
	if _, err := os.Stat(c.path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("files left in %s: %v", c.path(), err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), c.path()) || strings.Contains(string(mounts), c.netnsName("")) {
		t.Errorf("mounts left: %v\n%s", err, mounts)
	}
}

// processesOf finds processes by what they are, not by the cgroups that Down goes
// by: by their command line, or a mount of the cluster's files in their view.
func processesOf(name string) []string {
	var found []string
	dir := filepath.Join(stateRoot, name) + "/"
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range dirs {
		command, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		mounts, _ := os.ReadFile(filepath.Join(proc, "mountinfo"))
		if strings.Contains(string(command), dir) || strings.Contains(string(mounts), dir) {
			found = append(found, proc+": "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
