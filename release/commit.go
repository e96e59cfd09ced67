package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// commit is what a release is made of.
type commit struct {
	revision string
	date     time.Time // stands for the current time in all that is written
}

// readCommit returns the checked-out commit. Uncommitted changes are an error: nobody else could reproduce a release with them.
func readCommit(ctx context.Context) (commit, error) {
	changes, err := command(ctx, nil, "git", "status", "--porcelain")
	if err != nil {
		return commit{}, err
	}
	if changes != "" {
		return commit{}, fmt.Errorf("read checkout: it differs from its commit; commit, stash or delete\n%s", changes)
	}
	text, err := command(ctx, nil, "git", "show", "--no-patch", "--format=%H %ct", "HEAD")
	if err != nil {
		return commit{}, err
	}
	revision, date, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseInt(date, 10, 64)
	if err != nil {
		return commit{}, fmt.Errorf("read commit %s: %w", revision, err)
	}
	return commit{revision, time.Unix(seconds, 0).UTC()}, nil
}

// command runs a program with more variables and returns what it prints, without trailing white space.
func command(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("run %s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimRight(string(out), " \n"), nil
}
