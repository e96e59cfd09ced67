package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// ReadMemory reads the accounts of the control group of a process, version 1 or 2.
func ReadMemory(pid int) (Memory, error) {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	dir, usageFile, prefix := memoryGroup(string(groups))
	usage, err := os.ReadFile(filepath.Join(cgroupRoot, dir, usageFile))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	stat, err := os.ReadFile(filepath.Join(cgroupRoot, dir, "memory.stat"))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	return parseMemory(string(usage), string(stat), prefix)
}

// memoryGroup finds the control group that accounts for memory in the text of /proc/PID/cgroup, and how its files name things.
func memoryGroup(groups string) (dir, usage, prefix string) {
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && fields[1] == "memory" {
			return "memory" + fields[2], "memory.usage_in_bytes", "total_"
		}
		if len(fields) == 3 && fields[0] == "0" {
			dir = fields[2]
		}
	}
	return dir, "memory.current", ""
}

// parseMemory does what cAdvisor does for the working set.
func parseMemory(usage, stat, prefix string) (Memory, error) {
	total, err := strconv.ParseInt(strings.TrimSpace(usage), 10, 64)
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	anonymous, cache := "anon", "file" // version 2
	if prefix != "" {
		anonymous, cache = "rss", "cache"
	}
	values := map[string]int64{prefix + anonymous: -1, prefix + cache: -1, prefix + "shmem": -1, prefix + "inactive_file": -1}
	lines := bufio.NewScanner(strings.NewReader(stat))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if _, wanted := values[name]; wanted {
			if values[name], err = strconv.ParseInt(value, 10, 64); err != nil {
				return Memory{}, fmt.Errorf("read memory: %s: %w", name, err)
			}
		}
	}
	for name, value := range values {
		if value < 0 {
			return Memory{}, fmt.Errorf("read memory: no %s in memory.stat", name)
		}
	}
	// Shared memory counts as cache, but only swapping could take it back.
	m := Memory{Anonymous: values[prefix+anonymous] + values[prefix+"shmem"], WorkingSet: total - values[prefix+"inactive_file"]}
	m.Kernel = max(0, total-values[prefix+anonymous]-values[prefix+cache])
	return m, nil
}
