package cluster_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// interruptUp starts "cluster up" as a user would, sends it a signal when it has printed the
// step that contains text, and returns its exit status; -1 is that of a killed program.
func interruptUp(ctx context.Context, t *testing.T, name, text string, signal unix.Signal) int {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cluster")
	kit.Must(t, cluster.Compile(ctx, "test/cluster/cmd/cluster", binary))
	cmd := exec.CommandContext(ctx, binary, "--name", name, "up")
	stderr, err := cmd.StderrPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	var printed []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		printed = append(printed, lines.Text())
		if strings.Contains(lines.Text(), text) {
			kit.Must(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			return cmd.ProcessState.ExitCode()
		}
	}
	t.Fatalf("cluster up never printed %q: %v\n%s", text, cmd.Wait(), strings.Join(printed, "\n"))
	return 0
}

func TestClusterSurvivesKilledUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "killed")
	for _, step := range []string{"certificates made", "control plane ready"} {
		interruptUp(ctx, t, name, step, unix.SIGKILL)
		t.Logf("killed after %q", step)
	}
	bringUp(ctx, t, name)
}

func TestClusterDownAfterKilledUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "killed")
	interruptUp(ctx, t, name, "container runtimes ready", unix.SIGKILL)
	if len(processesOf(name)) == 0 {
		t.Fatal("the killed run left no process, so there is nothing to test")
	}
	kit.Must(t, cluster.Down(ctx, name))
	expectNothingLeft(t, name)
	if err := cluster.Down(ctx, name); err != nil {
		t.Errorf("a second Down: %v", err)
	}
}

func TestClusterInterruptedUpCleansUp(t *testing.T) {
	ctx := needCluster(t)
	name := testName(t, "interrupted")
	if got := interruptUp(ctx, t, name, "control plane ready", unix.SIGINT); got != 1 {
		t.Errorf("interrupted cluster up: got exit status %d, want 1", got)
	}
	expectNothingLeft(t, name)
	if err := os.RemoveAll(filepath.Join(stateRoot, ".failed-"+name)); err != nil {
		t.Error(err)
	}
}
