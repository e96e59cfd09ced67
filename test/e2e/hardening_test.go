package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/webhook"
)

// testHardening looks at what the kernel enforces, whatever the manifest says.
func (s *suite) testHardening(t *testing.T) {
	replicas, err := s.Replicas(s.Ctx)
	kit.Must(t, err)
	for _, pod := range replicas {
		proc := processOf(t, pod)
		expectKernelLimits(t, pod.Name, proc)
		s.searchFiles(t, pod.Name, proc)
		s.expectNoShell(t, pod)
	}
}

// processOf is the directory in /proc of the webhook's process in a pod: the nodes share this machine's kernel.
func processOf(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	pid, err := process.PID(pod, "/sts-webhook")
	kit.Must(t, err)
	return fmt.Sprintf("/proc/%d", pid)
}

// readOnlyRoot is the line of a mount at / that is read-only, see proc_pid_mountinfo(5).
var readOnlyRoot = regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ / ro\b`)

// expectKernelLimits checks the identity and the rights of a process, see proc_pid_status(5), and that its root is read-only.
func expectKernelLimits(t *testing.T, name, proc string) {
	t.Helper()
	mounts, err := os.ReadFile(proc + "/mountinfo")
	kit.Must(t, err)
	if !readOnlyRoot.Match(mounts) {
		t.Errorf("%s: got the mounts\n%s\nwant the root file system ro", name, mounts)
	}
	status, err := os.ReadFile(proc + "/status")
	kit.Must(t, err)
	for _, want := range []string{
		"Uid:\t65532\t65532\t65532\t65532\n", "Gid:\t65532\t65532\t65532\t65532\n",
		"CapInh:\t0000000000000000\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
		"CapBnd:\t0000000000000000\n", "CapAmb:\t0000000000000000\n",
		"NoNewPrivs:\t1\n", // no escalation by setuid programs
		"Seccomp:\t2\n",    // a filter is active
	} {
		if !bytes.Contains(status, []byte("\n"+want)) {
			t.Errorf("%s: got the status\n%s\nwant %q in it", name, status, want)
		}
	}
}

// pemKey is the start of any private key in PEM form.
var pemKey = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/]`)

// searchFiles reads every file that the container can see: the image holds the
// two that it should, and no file holds a private key.
func (s *suite) searchFiles(t *testing.T, name, proc string) {
	t.Helper()
	root := proc + "/root/"
	image, err := device(root)
	kit.Must(t, err)
	keys := s.keyLines(t)
	var ofImage []string
	files := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside := "/" + strings.TrimPrefix(path, root)
		if entry.IsDir() && slices.Contains([]string{"/proc", "/sys", "/dev"}, inside) {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		files++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if pemKey.Match(content) || containsAny(content, keys) {
			t.Errorf("%s: %s holds a private key", name, inside)
		}
		if dev, err := device(path); err != nil || dev == image {
			ofImage = append(ofImage, inside)
			return err
		}
		return nil
	})
	kit.Must(t, err)
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/sts-webhook"}; !slices.Equal(ofImage, want) {
		t.Errorf("%s: files of the image: got %v, want %v", name, ofImage, want)
	}
	if files < len(ofImage)+3 {
		t.Errorf("%s: only %d files searched, its mounts are not among them", name, files)
	}
	environment, err := os.ReadFile(proc + "/environ")
	kit.Must(t, err)
	if len(environment) == 0 || containsAny(environment, keys) {
		t.Errorf("%s: the environment is empty or holds a private key", name)
	}
}

// keyLines are the lines of the private keys that are in use.
func (s *suite) keyLines(t *testing.T) [][]byte {
	t.Helper()
	var lines [][]byte
	for key, value := range s.secret(t).Data {
		for line := range bytes.SplitSeq(value, []byte("\n")) {
			if strings.HasSuffix(key, ".key") && len(line) > 40 && !bytes.HasPrefix(line, []byte("-----")) {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) < 20 {
		t.Fatalf("the Secret's keys have %d lines, too few for the CA's RSA key", len(lines))
	}
	return lines
}

func containsAny(content []byte, lines [][]byte) bool {
	return slices.ContainsFunc(lines, func(line []byte) bool { return bytes.Contains(content, line) })
}

// device is the file system that a file is on.
func device(path string) (uint64, error) {
	var stat syscall.Stat_t
	err := syscall.Lstat(path, &stat)
	return uint64(stat.Dev), err
}

// expectNoShell tries to get one, after it made sure that exec works at all.
func (s *suite) expectNoShell(t *testing.T, pod corev1.Pod) {
	t.Helper()
	exec := []string{"exec", "--namespace", webhook.Namespace, pod.Name, "--"}
	if out := s.Kubectl(t, append(exec, "/sts-webhook", "help")...); !strings.Contains(out, "Usage:") {
		t.Errorf("%s: exec of /sts-webhook help: got %q", pod.Name, out)
	}
	for _, shell := range []string{"sh", "/bin/sh", "/bin/bash", "/busybox/sh"} {
		if out, err := s.Cluster.Kubectl(s.Ctx, append(exec, shell, "-c", "true")...); err == nil || !strings.Contains(out, "no such file") && !strings.Contains(out, "not found") {
			t.Errorf("%s: exec of %s: got %q, %v; want that there is none", pod.Name, shell, out, err)
		}
	}
}
