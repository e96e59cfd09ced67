package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// pids finds the processes of a program in the containers of a pod, by the
// pod's cgroup.
func pids(pod corev1.Pod, program string) []int {
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*") // fails only for a malformed pattern
	for _, dir := range dirs {
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(cgroup), "pod"+string(pod.UID)) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // empty when the process has ended
		argv0, _, _ := bytes.Cut(cmdline, []byte{0})
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && string(argv0) == program {
			found = append(found, pid)
		}
	}
	return found
}

// kill ends a replica without warning.
func (a *attempt) kill(pod corev1.Pod) error {
	now := time.Now()
	a.expect(now, now.Add(deadFor), killed...)
	found := pids(pod, a.program)
	if len(found) == 0 {
		return fmt.Errorf("kill %s: it has no process %s", pod.Name, a.program)
	}
	for _, pid := range found {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", pod.Name, err)
		}
	}
	return nil
}

// ticksPerSecond is the unit of times in /proc/PID/stat on every Linux platform
// that Go supports (proc(5): sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// startOf is when a process began, to a hundredth of a second.
func startOf(pid int) (time.Time, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Time{}, fmt.Errorf("read process %d: %w", pid, err)
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
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}, fmt.Errorf("read clock: %w", err)
	}
	return time.Now().Add(time.Duration(ticks)*time.Second/ticksPerSecond - time.Duration(now.Nano())), nil
}

func TestStartOf(t *testing.T) {
	got, err := startOf(os.Getpid())
	if age := time.Since(got); err != nil || age < 0 || age > 30*time.Minute {
		t.Errorf("this test began %v ago (%v), want a moment ago", age, err)
	}
}
