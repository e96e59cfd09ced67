package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted cgroup hierarchy: the single one of cgroup v2, or one
// of the several of cgroup v1.
type hierarchy struct {
	mount string
	// v2 tells cgroup v2; on hybrid machines it is mounted beside v1.
	v2 bool
	// options are the mount's super options: the v1 controllers it serves.
	options []string
}

// hierarchies reads which cgroup hierarchies are mounted.
func hierarchies() ([]hierarchy, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	found := parseHierarchies(string(mountinfo))
	if len(found) == 0 {
		return nil, errors.New("read mounts: no cgroup hierarchy is mounted")
	}
	return found, nil
}

// parseHierarchies finds the mounts of cgroup file systems (proc(5), mountinfo).
func parseHierarchies(mountinfo string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 || right[0] != "cgroup" && right[0] != "cgroup2" {
			continue
		}
		found = append(found, hierarchy{mount: left[4], v2: right[0] == "cgroup2", options: strings.Split(right[2], ",")})
	}
	return found
}

// tracking picks the hierarchy that holds every process of a cluster, daemons and
// containers alike: that of v2, systemd's, or any. A child inherits its parent's group,
// and runc moves containers only to groups below the same node; so "all below the group"
// is exact, even for processes whose parents died.
func tracking(all []hierarchy) hierarchy {
	best := all[0]
	for _, h := range all {
		if h.v2 {
			return h
		}
		if slices.Contains(h.options, "name=systemd") {
			best = h
		}
	}
	return best
}

// group is the path of a part's cgroup below a hierarchy's mount point; that of the
// empty part is the cluster's.
func (c *Cluster) group(part string) string { return filepath.Join("sts-webhook-test-"+c.name, part) }

// daemonsGroup is the directory of the cgroup that a part's daemons start in. It
// is a leaf, since cgroup v2 wants no processes beside the kubelet's groups.
func (c *Cluster) daemonsGroup(part string) string {
	return filepath.Join(tracking(c.cgroups).mount, c.group(part), "daemons")
}

// makeGroups creates the cluster's cgroups under every hierarchy and makes them
// usable for kubelets.
func (c *Cluster) makeGroups() error {
	parts := append(c.Nodes(), controlPlane)
	for _, h := range c.cgroups {
		onlyV2 := h.v2 && len(c.cgroups) == 1
		if onlyV2 {
			delegate(h.mount)
		}
		for _, part := range append([]string{""}, parts...) {
			dir := filepath.Join(h.mount, c.group(part))
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // a hierarchy may be mounted twice
				return fmt.Errorf("create cgroup: %w", err)
			}
			if slices.Contains(h.options, "cpuset") {
				if err := inheritCPUSet(dir); err != nil {
					return err
				}
			}
			if onlyV2 {
				delegate(dir)
			}
		}
		prefer(h, filepath.Join(h.mount, c.group("")))
	}
	for _, part := range parts {
		if err := os.Mkdir(c.daemonsGroup(part), 0o755); err != nil {
			return fmt.Errorf("create cgroup: %w", err)
		}
	}
	return nil
}

// delegate offers the controllers a kubelet needs to the children of a cgroup v2
// group. A controller this kernel lacks is the kubelet's to complain about.
func delegate(dir string) {
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// prefer gives the cluster the weight of eight ordinary processes: by default the
// whole group weighs as much as one, and a compiler beside it would starve an
// apiserver into time-outs that no cluster has. Best effort: it changes no result,
// only how long it takes.
func prefer(h hierarchy, dir string) {
	file, weight := "cpu.weight", "800"
	if slices.Contains(h.options, "cpu") {
		file, weight = "cpu.shares", "8192"
	}
	_ = os.WriteFile(filepath.Join(dir, file), []byte(weight), 0o644)
}

// inheritCPUSet fills what cgroup v1 leaves empty in a new cpuset; no process can
// enter an empty one.
func inheritCPUSet(dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil {
			return fmt.Errorf("read cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return fmt.Errorf("fill cpuset: %w", err)
		}
	}
	return nil
}

// groupDirs lists the directories of a part's cgroup and of all below it, over all
// hierarchies, parents before children.
func (c *Cluster) groupDirs(part string) []string {
	var dirs []string
	for _, h := range c.cgroups {
		_ = filepath.WalkDir(filepath.Join(h.mount, c.group(part)), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			// Groups vanish while their processes are ending.
			return nil
		})
	}
	return dirs
}

// killGroup kills every process in a part's cgroup and below it and returns when none
// is left, which includes those forked meanwhile.
func (c *Cluster) killGroup(ctx context.Context, part string) error {
	err := poll(ctx, 5*time.Millisecond, func(context.Context) (bool, error) {
		done := true
		for _, dir := range c.groupDirs(part) {
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for _, field := range strings.Fields(string(procs)) {
				pid, err := strconv.Atoi(field)
				if err != nil || pid <= 1 {
					continue // 0 stands for a process of another pid namespace: not ours
				}
				done = false
				if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
					return false, fmt.Errorf("kill process %d: %w", pid, err)
				}
				reap(pid)
			}
		}
		return done, nil
	})
	if err != nil {
		return fmt.Errorf("end processes of cgroup %s: %w", c.group(part), err)
	}
	return nil
}

// removeGroup deletes a part's cgroup and all below it; no process may be left
// in them. The kernel says EBUSY for a moment after the last one has ended.
func (c *Cluster) removeGroup(ctx context.Context, part string) error {
	err := poll(ctx, 5*time.Millisecond, func(context.Context) (bool, error) {
		done := true
		for _, dir := range slices.Backward(c.groupDirs(part)) {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				done = false
			}
		}
		return done, nil
	})
	if err != nil {
		return fmt.Errorf("delete cgroup %s: %w", c.group(part), err)
	}
	return nil
}
