package cluster_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

const stateRoot = "/var/lib/sts-webhook-test"

// needCluster skips a test without TEST_CLUSTER.
func needCluster(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up real clusters; set TEST_CLUSTER=1 (make test-cluster) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// timeout bounds each test.
const timeout = 5 * time.Minute

// testName keeps the tests away from the cluster that make demo leaves.
func testName(t *testing.T, suffix string) string {
	t.Helper()
	name, err := cluster.ResolveName("")
	kit.Must(t, err)
	return name + "-" + suffix
}

// bringUp brings up a cluster that is removed at the end of the test.
func bringUp(ctx context.Context, t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	begin := time.Now()
	c, err := cluster.Up(ctx, cluster.Options{Name: name, Log: kit.Log(t)})
	kit.Must(t, err)
	t.Logf("%s up in %.1f s", name, time.Since(begin).Seconds())
	t.Cleanup(func() {
		begin := time.Now()
		if err := c.Down(); err != nil {
			t.Error(err)
		}
		t.Logf("%s down in %.1f s", name, time.Since(begin).Seconds())
		expectNothingLeft(t, name)
	})
	return c
}

// expectFound brings up a cluster that must be found running and healthy, with the daemons
// that it had.
func expectFound(ctx context.Context, t *testing.T, name string, daemons map[string]int) {
	t.Helper()
	again, err := cluster.Up(ctx, cluster.Options{Name: name, Log: kit.Log(t)})
	kit.Must(t, err)
	if got := again.Daemons(); !maps.Equal(got, daemons) {
		t.Errorf("daemons: got %v, want %v", got, daemons)
	}
}

// expectNothingLeft looks for anything of the cluster that the machine still has.
func expectNothingLeft(t *testing.T, name string) {
	t.Helper()
	// A killed process leaves its cgroup a moment before its last trace in /proc.
	if err := kit.Until(context.Background(), 5*time.Second, func(context.Context) error {
		if processes := processesOf(name); len(processes) > 0 {
			return fmt.Errorf("processes left: %v", processes)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/sts-webhook-test-" + name, "/sys/fs/cgroup/*/sts-webhook-test-" + name,
		"/run/netns/sts-" + name + "-node-*", filepath.Join(stateRoot, name)} {
		if files, err := filepath.Glob(pattern); err != nil || len(files) > 0 {
			t.Errorf("left: %v, %v", files, err)
		}
	}
	expectNoMounts(t, filepath.Join(stateRoot, name)+"/", "sts-"+name+"-node-")
}

// expectNoMounts looks for mounts that the machine has.
func expectNoMounts(t *testing.T, parts ...string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	kit.Must(t, err)
	for _, part := range parts {
		if strings.Contains(string(mounts), part) {
			t.Errorf("mounts with %s:\n%s", part, mounts)
		}
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
