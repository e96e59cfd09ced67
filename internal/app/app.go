// Package app turns the command line into a running process: it reads options,
// wires the other packages together, and knows the exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // a mistake on the command line; nothing was done
)

const usage = `sts-webhook places the pods of a StatefulSet on node groups by their ordinal.

Usage:
  sts-webhook [serve] [flags]       run the webhook (in the cluster)
  sts-webhook plan -f FILE          show where the pods of StatefulSets would go (needs no cluster)
  sts-webhook rotate [flags]        ask the running webhook for a new CA (from anywhere)
  sts-webhook alert-test [flags]    send one test message to DingTalk and explain the answer

Each takes --help.
`

// command is one thing that the program does.
type command interface {
	addFlags(*pflag.FlagSet)
	validate() error
	run(ctx context.Context, stdout, stderr io.Writer) error
}

// Run executes the command named by args and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name, rest := "serve", args
	if len(args) > 0 && (args[0] == "help" || len(args[0]) > 0 && args[0][0] != '-') {
		name, rest = args[0], args[1:]
	}
	commands := map[string]command{"serve": newServe(), "rotate": &rotate{}, "alert-test": &alertTest{}, "plan": newPlan()}
	cmd, known := commands[name]
	if name == "help" {
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	if !known {
		fmt.Fprintf(stderr, "sts-webhook: unknown command %q\n\n%s", name, usage)
		return exitUsage
	}
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(io.Discard)
	cmd.addFlags(flags)
	switch err := parse(flags, rest, cmd); {
	case errors.Is(err, pflag.ErrHelp):
		if name == "serve" {
			fmt.Fprintf(stdout, "%s\n", usage)
		}
		fmt.Fprintf(stdout, "Flags of %s:\n%s", name, flags.FlagUsagesWrapped(100))
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "%v\nsee: sts-webhook %s --help\n", err, name)
		return exitUsage
	}
	if err := cmd.run(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "sts-webhook %s: %v\n", name, err)
		return exitFailure
	}
	return exitOK
}

func parse(flags *pflag.FlagSet, args []string, cmd command) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: everything is a flag", flags.Arg(0))
	}
	return cmd.validate()
}
