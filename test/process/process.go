// Package process looks at the programs that run in the pods of a test cluster.
// They are ordinary processes of this machine, found by their container's cgroup.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// PID finds the process whose argv[0] is program in the first container of a pod,
// as its status names it. It must be exactly one: a container that is just being
// restarted has none.
func PID(pod corev1.Pod, program string) (int, error) {
	if len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].ContainerID == "" {
		return 0, fmt.Errorf("find %s in pod %s: its container was never started", program, pod.Name)
	}
	// The cgroup is named after the container; the pod's sandbox has one of its own.
	_, container, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	found := inCgroup(container, program)
	if len(found) != 1 {
		return 0, fmt.Errorf("find %s in pod %s: %d processes, want 1", program, pod.Name, len(found))
	}
	return found[0], nil
}

// All finds the processes whose argv[0] is program in all containers of a pod, those that
// its status does not name yet or any more included.
func All(pod corev1.Pod, program string) []int { return inCgroup("pod"+string(pod.UID), program) }

// inCgroup finds processes by their argv[0] and by a part of their cgroup's path.
func inCgroup(part, program string) (found []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // fails only for a malformed pattern
	for _, dir := range dirs {
		// Processes end at any time: what cannot be read is not what we look for.
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(cgroup), part) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		argv0, _, _ := bytes.Cut(cmdline, []byte{0})
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && string(argv0) == program {
			found = append(found, pid)
		}
	}
	return found
}

// CPU is the processor time, user and system, that the process has used. It adds
// the exact times of its threads (/proc/PID/task/*/schedstat, in ns); those of
// threads that have ended are missing, and a Go program ends none unless it
// locks one.
func CPU(pid int) (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read CPU time of process %d: it has no threads", pid)
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("read CPU time: %w", err)
		}
		var ns time.Duration
		if _, err := fmt.Sscan(string(content), &ns); err != nil {
			return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
		}
		total += ns
	}
	return total, nil
}

// ticksPerSecond is the unit of times in /proc/PID/stat on every Linux platform
// that Go supports (proc(5): sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// Started is when a process began, to a hundredth of a second.
func Started(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, fmt.Errorf("read process: %w", err)
	}
	// The second field is a name in parentheses that may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return time.Time{}, fmt.Errorf("read process %d: short stat", pid)
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	var sinceBoot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	return time.Now().Add(time.Duration(ticks)*time.Second/ticksPerSecond - time.Duration(sinceBoot.Nano())), nil
}
