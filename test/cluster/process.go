package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// systemPath finds the programs of Debian's packages also where a user's PATH
// leaves out the sbin directories.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// daemon is one long-running program of a cluster.
type daemon struct {
	// name is unique in the cluster and names its record and its log.
	name string
	// group is the cgroup below the cluster's that holds it and its children.
	group string
	// netns is the path of the network namespace it runs in.
	netns string
	// init is the process whose mount namespace it runs in; zero is the machine's.
	init int
	argv []string
}

// record identifies a process beyond the reuse of its pid.
type record struct {
	PID int `json:"pid"`
	// Start is field 22 of /proc/PID/stat: ticks since boot.
	Start uint64 `json:"start"`
}

// enterAndExec moves a shell into a cgroup before it becomes the command, so that
// the command has no moment outside in which it could start a child.
const enterAndExec = `echo 0 > "$0/cgroup.procs" && exec "$@"`

// start starts the daemon unless it runs. It outlives this process and does not
// share its terminal's signals.
func (c *Cluster) start(d daemon) error {
	if c.alive(d.name) {
		return nil
	}
	log, err := os.OpenFile(c.path("logs", d.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	defer log.Close()
	args := []string{"-c", enterAndExec, c.daemonsGroup(d.group), "nsenter", "--net=" + d.netns}
	if d.init != 0 {
		args = append(args, fmt.Sprintf("--mount=/proc/%d/ns/mnt", d.init))
	}
	cmd := exec.Command("/bin/sh", append(append(args, "--"), d.argv...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + systemPath, "HOME=/root", "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.name, err)
	}
	content, err := json.Marshal(record{PID: cmd.Process.Pid, Start: started})
	if err != nil {
		return fmt.Errorf("record %s: %w", d.name, err)
	}
	// The process is waited for by pid (see reap): this process may be gone by then.
	_ = cmd.Process.Release()
	return writeFile(c.path("pids", d.name), content, 0o644)
}

// pid is the process id of a running daemon; false when it does not run.
func (c *Cluster) pid(name string) (int, bool) {
	content, err := os.ReadFile(c.path("pids", name))
	if err != nil {
		return 0, false
	}
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return 0, false
	}
	reap(r.PID)
	started, err := startTime(r.PID)
	return r.PID, err == nil && started == r.Start
}

func (c *Cluster) alive(name string) bool {
	_, ok := c.pid(name)
	return ok
}

// signalAndWait signals the daemon and waits for its end. A daemon that does not
// run is fine.
func (c *Cluster) signalAndWait(ctx context.Context, name string, signal unix.Signal) error {
	pid, ok := c.pid(name)
	if !ok {
		return nil
	}
	if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s: %w", name, err)
	}
	err := poll(ctx, 5*time.Millisecond, func() (bool, error) { return !c.alive(name), nil })
	if err != nil {
		return fmt.Errorf("wait for the end of %s: %w", name, err)
	}
	return nil
}

// startTime reads when a live process began; a zombie counts as gone.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read process %d: %w", pid, err)
	}
	// The second field is a name in parentheses that may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read process %d: short stat", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("read process %d: %w", pid, fs.ErrNotExist)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// reap takes the exit status of a process if it is a child of this one.
func reap(pid int) {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
}

// poll calls done every interval until it says true, fails or ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
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
		return fmt.Errorf("write file: %w", err)
	}
	if err := os.Rename(temporary, name); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}
