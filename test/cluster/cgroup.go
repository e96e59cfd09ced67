package cluster

import (
	"bufio"
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

// hierarchies reads which cgroup hierarchies are mounted (proc(5), mountinfo).
func hierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	var found []hierarchy
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if h, ok := parseHierarchy(lines.Text()); ok {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("read mounts: no cgroup hierarchy is mounted")
	}
	return found, nil
}

func parseHierarchy(mountinfo string) (hierarchy, bool) {
	before, after, ok := strings.Cut(mountinfo, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 5 || len(right) < 3 {
		return hierarchy{}, false
	}
	if right[0] != "cgroup" && right[0] != "cgroup2" {
		return hierarchy{}, false
	}
	return hierarchy{mount: left[4], v2: right[0] == "cgroup2", options: strings.Split(right[2], ",")}, true
}

// tracking picks the hierarchy that holds every process of a cluster, daemons and
// containers alike. A child inherits its parent's group, and runc moves containers
// only to groups below the same node; so "all below the group" is exact, even for
// processes whose parents died.
func tracking(all []hierarchy) hierarchy {
	for _, h := range all {
		if h.v2 {
			return h
		}
	}
	for _, h := range all {
		if slices.Contains(h.options, "name=systemd") {
			return h
		}
	}
	return all[0]
}

// makeGroup creates the group (a path without leading slash) under every
// hierarchy and makes it usable for a kubelet.
func makeGroup(all []hierarchy, group string) error {
	onlyV2 := len(all) == 1 && all[0].v2
	for _, h := range all {
		parent := h.mount
		for depth, part := range strings.Split(group, "/") {
			if onlyV2 {
				delegate(parent)
			}
			dir := filepath.Join(parent, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("create cgroup: %w", err)
			}
			if slices.Contains(h.options, "cpuset") {
				if err := inheritCPUSet(parent, dir); err != nil {
					return err
				}
			}
			if depth == 0 {
				prefer(h, dir)
			}
			parent = dir
		}
		if onlyV2 {
			delegate(parent)
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
func inheritCPUSet(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, name))
		if err != nil {
			return fmt.Errorf("read cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return fmt.Errorf("fill cpuset: %w", err)
		}
	}
	return nil
}

// groupsBelow lists the group and all groups below it in one hierarchy, parents
// before children.
func groupsBelow(h hierarchy, group string) []string {
	var dirs []string
	_ = filepath.WalkDir(filepath.Join(h.mount, group), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		// Groups vanish while their processes are ending.
		return nil
	})
	return dirs
}

// groupPIDs lists the processes in the group and below it, over all hierarchies.
func groupPIDs(all []hierarchy, group string) []int {
	var pids []int
	for _, h := range all {
		for _, dir := range groupsBelow(h, group) {
			procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue
			}
			for _, field := range strings.Fields(string(procs)) {
				// 0 stands for a process of another pid namespace: not ours.
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					pids = append(pids, pid)
				}
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// killGroup kills every process in the group and below it and returns when none
// is left, which includes those forked meanwhile.
func killGroup(ctx context.Context, all []hierarchy, group string) error {
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
		pids := groupPIDs(all, group)
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return false, fmt.Errorf("kill process %d: %w", pid, err)
			}
			reap(pid)
		}
		return len(pids) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("end processes of cgroup %s: %w", group, err)
	}
	return nil
}

// removeGroup deletes the group and all groups below it; no process may be left
// in them. The kernel says EBUSY for a moment after the last one has ended.
func removeGroup(ctx context.Context, all []hierarchy, group string) error {
	for _, h := range all {
		err := poll(ctx, 5*time.Millisecond, func() (bool, error) {
			dirs := groupsBelow(h, group)
			slices.Reverse(dirs)
			done := true
			for _, dir := range dirs {
				if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
					done = false
				}
			}
			return done, nil
		})
		if err != nil {
			return fmt.Errorf("delete cgroup %s under %s: %w", group, h.mount, err)
		}
	}
	return nil
}
