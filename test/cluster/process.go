package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"
)

// systemPath finds the programs of Debian's packages also where a user's PATH
// leaves out the sbin directories.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// pollInterval is how often a wait looks whether a daemon is ready.
const pollInterval = 50 * time.Millisecond

// enterAndExec moves a shell into a cgroup before it becomes the command, so that
// the command has no moment outside in which it could start a child.
const enterAndExec = `echo 0 > "$0/cgroup.procs" && exec "$@"`

// start starts a daemon by its command line, unless it runs: in the cgroup of a part of the
// cluster, the network of a node and, unless it is zero, the mount namespace of a process. It
// outlives this process and does not share its terminal's signals.
func (c *Cluster) start(name, part, node string, mounts int, argv []string) error {
	if c.alive(name) {
		return nil
	}
	log, err := os.OpenFile(c.LogPath(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	args := []string{"-c", enterAndExec, c.daemonsGroup(part), "nsenter", "--net=" + c.netns(node)}
	if mounts != 0 {
		args = append(args, mountsOf(mounts))
	}
	cmd := exec.Command("/bin/sh", append(append(args, "--"), argv...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + systemPath, "HOME=/root", "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	record := identity(cmd.Process.Pid)
	// The process is waited for by pid (see reap): this process may be gone by then.
	_ = cmd.Process.Release()
	return writeFile(c.path("pids", name), []byte(record), 0o644)
}

// pid is the process id of a running daemon; zero when it does not run.
func (c *Cluster) pid(name string) int {
	record, _ := os.ReadFile(c.path("pids", name))
	var pid int
	if _, err := fmt.Sscan(string(record), &pid); err != nil {
		return 0
	}
	reap(pid)
	if identity(pid) != string(record) {
		return 0
	}
	return pid
}

// mountsOf is nsenter's option for the mount namespace of a process.
func mountsOf(pid int) string { return fmt.Sprintf("--mount=/proc/%d/ns/mnt", pid) }

func (c *Cluster) alive(name string) bool { return c.pid(name) != 0 }

// signal sends a signal to a daemon that must run.
func (c *Cluster) signal(name string, signal unix.Signal) error {
	pid := c.pid(name)
	if pid == 0 {
		return fmt.Errorf("signal %s: it does not run", name)
	}
	if err := unix.Kill(pid, signal); err != nil {
		return fmt.Errorf("signal %s: %w", name, err)
	}
	return nil
}

// end signals a daemon and waits for its end. A daemon that does not run is fine.
func (c *Cluster) end(ctx context.Context, name string, signal unix.Signal) error {
	if err := c.signal(name, signal); err != nil && c.alive(name) {
		return err
	}
	err := poll(ctx, 5*time.Millisecond, func(context.Context) (bool, error) { return !c.alive(name), nil })
	if err != nil {
		return fmt.Errorf("wait for the end of %s: %w", name, err)
	}
	return nil
}

// await polls until done returns nil, and fails as soon as one of the daemons ends. The error
// says what done last lacked.
func (c *Cluster) await(ctx context.Context, what string, daemons []string, done func(context.Context) error) error {
	var last error
	err := poll(ctx, pollInterval, func(ctx context.Context) (bool, error) {
		for _, name := range daemons {
			if !c.alive(name) {
				return false, fmt.Errorf("%s ended:\n%s", name, c.logTail(name))
			}
		}
		last = done(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, errors.Join(err, last))
	}
	return nil
}

// identity names a process beyond the reuse of its pid: by its start, field 22 of
// /proc/PID/stat, in ticks since boot. A process that is gone has none, nor has a zombie.
func identity(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The second field is a name in parentheses that may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fmt.Sprint(pid, " ", fields[19])
}

// reap takes the exit status of a process if it is a child of this one.
func reap(pid int) {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
}

// poll calls done every interval until it returns true or fails, or ctx ends.
func poll(ctx context.Context, interval time.Duration, done wait.ConditionWithContextFunc) error {
	err := wait.PollUntilContextCancel(ctx, interval, true, done)
	if errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// run runs a command to its end and returns what it printed on both streams; an
// error holds that text.
func run(ctx context.Context, stdin string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, lookPath(name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "PATH="+systemPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// lookPath finds a program on systemPath; it returns the bare name when there is none.
func lookPath(name string) string {
	for _, dir := range filepath.SplitList(systemPath) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return name
}

// writeFile replaces a file as a whole: a crash leaves the old or the new text.
func writeFile(name string, content []byte, mode fs.FileMode) error {
	temporary := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return err
	}
	return os.Rename(temporary, name)
}
