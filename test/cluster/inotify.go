package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyFile is how many inotify instances a user may have, inotifyInstances what some clusters beside each other need: a node
// takes about ten, and without them kubelets end with "too many open files". Debian's default is 128.
const (
	inotifyFile      = "/proc/sys/fs/inotify/max_user_instances"
	inotifyInstances = 1024
)

// raiseInotify raises the limit of the machine, if it is lower.
func raiseInotify() error {
	text, err := os.ReadFile(inotifyFile)
	if err != nil {
		return fmt.Errorf("read limit: %w", err)
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(inotifyFile, []byte(strconv.Itoa(inotifyInstances)), 0o644); err != nil {
		return fmt.Errorf("raise %s from %s to %d, for several clusters on one machine: %w", inotifyFile, strings.TrimSpace(string(text)), inotifyInstances, err)
	}
	return nil
}
