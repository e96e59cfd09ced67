package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// cgroupRoot is where the kernel's control groups are mounted.
const cgroupRoot = "/sys/fs/cgroup"

// Memory is what the container of a process is charged for, in bytes. A mapped program is missing on purpose: its pages are
// clean copies of a file, which the kernel drops at will, and charges to the container that touched the file first.
type Memory struct {
	// Anonymous is heap, stacks and data.
	Anonymous int64
	// Kernel is what the kernel holds for the container: page tables, sockets, kernel stacks.
	Kernel int64
	// WorkingSet is what the kubelet reports, evicts by, and `kubectl top` shows: all but the page cache that was not used
	// lately.
	WorkingSet int64
}

// Unreclaimable is what the kernel cannot take back: when it reaches the limit, the container is killed.
func (m Memory) Unreclaimable() int64 { return m.Anonymous + m.Kernel }

// accounting is how a version of control groups names things.
type accounting struct{ usage, anonymous, cache, shared, inactive string }

var (
	version1 = accounting{"memory.usage_in_bytes", "total_rss", "total_cache", "total_shmem", "total_inactive_file"}
	version2 = accounting{"memory.current", "anon", "file", "shmem", "inactive_file"}
)

// ReadMemory reads the accounts of the control group of a process, version 1 or 2.
func ReadMemory(pid int) (m Memory, err error) {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err == nil {
		dir, names := memoryGroup(string(groups))
		m, err = names.read(filepath.Join(cgroupRoot, dir))
	}
	if err != nil {
		return Memory{}, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return m, nil
}

// memoryGroup finds the control group that accounts for memory in the text of /proc/PID/cgroup.
func memoryGroup(groups string) (dir string, names accounting) {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && fields[1] == "memory" {
			return "memory" + fields[2], version1
		}
		if len(fields) == 3 && fields[0] == "0" {
			dir = fields[2]
		}
	}
	return dir, version2
}

// read does what cAdvisor does for the working set.
func (a accounting) read(dir string) (Memory, error) {
	usage, err := os.ReadFile(filepath.Join(dir, a.usage))
	if err != nil {
		return Memory{}, err
	}
	total, err := strconv.ParseInt(strings.TrimSpace(string(usage)), 10, 64)
	if err != nil {
		return Memory{}, err
	}
	stat, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return Memory{}, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if values[name], err = strconv.ParseInt(value, 10, 64); err != nil {
			return Memory{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range []string{a.anonymous, a.cache, a.shared, a.inactive} {
		if _, found := values[name]; !found {
			return Memory{}, fmt.Errorf("no %s in memory.stat", name)
		}
	}
	return Memory{
		// Shared memory counts as cache, but only swapping could take it back.
		Anonymous:  values[a.anonymous] + values[a.shared],
		Kernel:     max(0, total-values[a.anonymous]-values[a.cache]),
		WorkingSet: total - values[a.inactive],
	}, nil
}

// WatchMemory keeps looking what a process holds. The function that it returns ends that, and returns what was held when that was the
// most that cannot be reclaimed. It may be called again.
func WatchMemory(pid int) func() (Memory, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var most Memory
	var work errgroup.Group
	work.Go(func() error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			m, err := ReadMemory(pid)
			if err != nil {
				return err
			}
			if m.Unreclaimable() > most.Unreclaimable() {
				most = m
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return func() (Memory, error) {
		cancel()
		err := work.Wait()
		return most, err
	}
}
