package alert

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// defaultRobot is the name of the robot of --dingtalk-url-file.
	defaultRobot = "default"
	// lookEvery is how often the files are looked at, so that what is seen of them is
	// logged though no event comes.
	lookEvery = 10 * time.Second
	// maxRobots bounds the directories that are taken for robots.
	maxRobots = 50
)

// files are where a robot's settings are. Without namespaces it receives everything.
type files struct{ url, secret, namespaces string }

func filesIn(dir string) files {
	return files{filepath.Join(dir, "url"), filepath.Join(dir, "secret"), filepath.Join(dir, "namespaces")}
}

// robotDirs returns the names of the directory's subdirectories. Kubernetes mounts
// Secrets by links, and hides its own directories behind two dots.
func robotDirs(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // a directory that is missing holds no robot
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if at, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && at.IsDir() && len(names) < maxRobots {
			names = append(names, e.Name())
		}
	}
	return names
}

// settings are what the files said when they were looked at.
type settings struct {
	host       string // empty: no robot
	signed     bool
	namespaces string // one a line; empty: all
	problem    string // why the files cannot be used
}

// look reads the files once in lookEvery and logs what it sees at first and at every
// change: alerts that are off, or cannot be sent, must not be found out by their absence.
func (r *robot) look() {
	if now := r.o.Clock.Now(); r.lookedAt.IsZero() || now.Sub(r.lookedAt) >= lookEvery {
		r.lookedAt = now
		r.lookNow()
	}
}

func (r *robot) lookNow() {
	c, err := readCredentials(r.files, r.o.AllowHTTP)
	now := settings{host: c.host, signed: c.signed()}
	namespaces, wrong := r.readNamespaces()
	now.namespaces = namespaces
	if wrong != nil && (err == nil || errors.Is(err, errOff)) {
		err = wrong
	}
	if err != nil && !errors.Is(err, errOff) {
		now.problem = err.Error()
	}
	if errors.Is(err, errOff) {
		r.forgetAll()
	}
	changed := now != r.seen || r.seen == settings{} && !r.looked
	r.seen, r.looked = now, true
	if !changed {
		return
	}
	switch {
	case now.problem != "":
		r.o.Log.Error(fail(reasonCredentials, 0, now.problem), "alerts cannot be sent", "robot", r.name, "reason", reasonCredentials)
	case now.host == "":
		r.o.Log.Info("alerts are off", "robot", r.name, "cause", errOff.Error(), "file", r.files.url)
	default:
		kinds := slices.Sorted(slices.Values(r.o.AlertOn))
		r.o.Log.Info("alerts are on", "robot", r.name, "host", now.host, "signed", now.signed, "kinds", kinds, "namespaces", strings.Fields(now.namespaces))
	}
}

// report logs a change: when trouble begins, when its cause changes and when it
// is over. The same cause is logged once, however many messages meet it.
func (r *robot) report(err error) {
	failed, isFailure := errors.AsType[*failure](err)
	if errors.Is(err, errOff) || isFailure && failed.reason == reasonCredentials {
		r.lookNow()
		r.lastCause = ""
		return
	}
	cause := ""
	if isFailure {
		cause = fmt.Sprint(failed.reason, failed.code, withoutNumbers(failed.detail))
	}
	if cause == r.lastCause {
		return
	}
	r.lastCause = cause
	if cause == "" {
		r.o.Log.Info("alerts are sent again", "robot", r.name)
		return
	}
	r.o.Log.Error(failed, "alerts cannot be sent", "robot", r.name, "reason", failed.reason)
}

// withoutNumbers leaves out what may differ between two texts of the same cause: ports,
// durations, request ids.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// readNamespaces reads the file "namespaces" and returns its names, one a line; # begins
// a comment. Without the file the robot receives everything. What waits for a robot that
// may not hear of it any more is forgotten: others' trouble is none of a team's business,
// so the robot receives of nothing while its directory is empty or the file cannot be read.
func (r *robot) readNamespaces() (string, error) {
	if r.files.namespaces == "" {
		return "", nil
	}
	only, names := map[string]bool{}, []string(nil)
	text, err := readTrimmed(r.files.namespaces)
	_, noFile := os.Stat(r.files.namespaces)
	_, noURL := os.Stat(r.files.url)
	if err == nil && errors.Is(noFile, fs.ErrNotExist) && noURL == nil {
		r.restrictTo(nil)
		return "", nil
	}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if name := strings.TrimSpace(line); name != "" && !only[name] {
			only[name] = true
			names = append(names, name)
		}
	}
	r.restrictTo(only)
	return strings.Join(names, "\n"), err
}

// restrictTo limits the robot to these namespaces; nil means everything.
func (r *robot) restrictTo(only map[string]bool) {
	before := r.only.Load()
	if before != nil && maps.Equal(*before, only) && (*before == nil) == (only == nil) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only.Store(&only)
	if only != nil {
		r.queue.restrict(only)
	}
}
