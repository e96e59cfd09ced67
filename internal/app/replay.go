package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/replay"
)

// maxChanges bounds the changes that are listed; all are counted.
const maxChanges = 10_000

// replayCommand decides again about the pods in audit logs.
type replayCommand struct {
	files []string
	outputFlag
	decisionFlags

	stdin io.Reader
}

func (c *replayCommand) addFlags(g *flagGroups) {
	f := g.group("Replay")
	c.outputFlag.addFlags(f)
	c.addExistingSelector(f)
	f.StringVar(&c.defaultStatefulSet, "default-statefulset", "", "what the webhook was started with")
}

// takeArguments reads the names of logs, of which one may be standard input.
func (c *replayCommand) takeArguments(args []string) error {
	stdin := 0
	for _, name := range args {
		if name == "-" {
			stdin++
		}
	}
	switch {
	case len(args) == 0:
		return errors.New("no audit log: give files, or - for standard input")
	case stdin > 1:
		return errors.New("-: standard input can be read only once")
	}
	c.files = args
	return nil
}

func (c *replayCommand) validate() error {
	return errors.Join(c.decisionFlags.validate(), c.outputFlag.validate())
}

// run prints the decisions that change to stdout. One is an error of the command, and so is a log that holds no decision, which
// would prove nothing.
func (c *replayCommand) run(_ context.Context, stdout, stderr io.Writer) error {
	r := replay.New(mutator.Settings{DefaultStatefulSet: c.defaultStatefulSet, ReplaceExisting: c.replaces()})
	changes := []replay.Change{}
	for _, name := range c.files {
		if err := c.replay(r, name, &changes); err != nil {
			return err
		}
	}
	if err := replay.Print(stdout, c.output, changes); err != nil {
		return err
	}
	for _, line := range r.PassedOver() {
		fmt.Fprintln(stderr, line)
	}
	if n := r.Changed - len(changes); n > 0 {
		fmt.Fprintf(stderr, "not listed: %s more\n", count(n, "change"))
	}
	switch {
	case r.Counts[replay.Decided] == 0:
		return errors.New("no decision of the webhook with its pod is in the log, so nothing is known; log the creation of pods at level Request")
	case r.Changed > 0:
		return errors.New(r.Result())
	}
	fmt.Fprintln(stderr, r.Result())
	return nil
}

func (c *replayCommand) replay(r *replay.Replayer, name string, changes *[]replay.Change) error {
	keep := func(change *replay.Change) {
		if len(*changes) < maxChanges {
			*changes = append(*changes, *change)
		}
	}
	if name == "-" {
		return r.Read("standard input", c.stdin, keep)
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	defer file.Close()
	return r.Read(name, file, keep)
}
