// Package app turns the command line into a running process: it reads options,
// wires the other packages together, and knows the exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sts-mutating-webhook/internal/alert"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // a mistake on the command line, or, of check, no answer of the apiserver; nothing was done
)

// unreachable is the error of a command that looked at nothing, because the apiserver did not answer.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

const usage = `sts-webhook places the pods of a StatefulSet on node groups by their ordinal.

Usage:
  sts-webhook [serve] [flags]       run the webhook (in the cluster)
  sts-webhook plan -f FILE          show where the pods of StatefulSets would go (needs no cluster)
  sts-webhook plan statefulset NAME the same for one of a cluster, with the nodes that match
  sts-webhook check [--wait]        say whether an installation works; --pre: whether a cluster is fit for one (reads a cluster)
  sts-webhook audit -A              find pods that are not where their rules want them, or will not be (reads a cluster)
  sts-webhook replay AUDIT.log      decide again about the pods in an audit log, before an upgrade (needs no cluster)
  sts-webhook rotate [flags]        ask the running webhook for a new CA (from anywhere)
  sts-webhook alert-test [flags]    send one test message to DingTalk and explain the answer
  sts-webhook help COMMAND          show the flags of a command, as COMMAND --help does
  sts-webhook --version             show the version
`

// pluginName is what kubectl looks for as "kubectl sts-webhook".
const pluginName = "kubectl-sts_webhook"

// programName is how the user calls the program.
func programName(executable string) string {
	if filepath.Base(executable) == pluginName {
		return "kubectl sts-webhook"
	}
	return "sts-webhook"
}

// usageOf is the usage of the program under that name.
func usageOf(name string) string { return strings.ReplaceAll(usage, "\n  sts-webhook", "\n  "+name) }

// command is one thing that the program does.
type command interface {
	addFlags(*flagGroups)
	validate() error
	run(ctx context.Context, stdout, stderr io.Writer) error
}

// commandNames are the commands in the order of the usage.
var commandNames = []string{"serve", "plan", "check", "audit", "replay", "rotate", "alert-test"}

// newCommand returns nil for an unknown name.
func newCommand(name string) command {
	switch name {
	case "serve":
		return newServe()
	case "plan":
		return newPlan()
	case "check":
		return newCheck()
	case "audit":
		return newAudit()
	case "replay":
		return &replayCommand{stdin: os.Stdin}
	case "rotate":
		return &rotate{}
	case "alert-test":
		return &alertTest{}
	}
	return nil
}

// Run executes the command named by args and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name, rest := "serve", args
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		name, rest = args[0], args[1:]
	}
	program := programName(os.Args[0])
	switch {
	case name == "help":
		return help(rest, stdout, stderr)
	case name == "version", len(args) > 0 && args[0] == "--version":
		fmt.Fprintln(stdout, versionText())
		return exitOK
	}
	cmd := newCommand(name)
	if cmd == nil {
		return unknownCommand(name, stderr)
	}
	var groups flagGroups
	cmd.addFlags(&groups)
	flags := groups.all(name)
	flags.SetOutput(io.Discard)
	switch err := parse(flags, rest, cmd); {
	case errors.Is(err, pflag.ErrHelp):
		if name == "serve" {
			fmt.Fprintf(stdout, "%s\n", usageOf(program))
		}
		fmt.Fprintf(stdout, "Flags of %s:\n%s", name, groups.usage())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "%v\nsee: %s %s --help\n", err, program, name)
		return exitUsage
	}
	if err := cmd.run(ctx, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "%s %s: %v\n", program, name, err)
		if _, nothing := errors.AsType[unreachable](err); nothing {
			return exitUsage
		}
		return exitFailure
	}
	return exitOK
}

// help shows the usage, or the flags of the commands that are named.
func help(names []string, stdout, stderr io.Writer) int {
	if len(names) == 0 {
		fmt.Fprint(stdout, usageOf(programName(os.Args[0])))
		return exitOK
	}
	for i, name := range names {
		cmd := newCommand(name)
		if cmd == nil {
			return unknownCommand(name, stderr)
		}
		var groups flagGroups
		cmd.addFlags(&groups)
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		fmt.Fprintf(stdout, "Flags of %s:\n%s", name, groups.usage())
	}
	return exitOK
}

// unknownCommand does not repeat what may be an address with its token.
func unknownCommand(name string, stderr io.Writer) int {
	program := programName(os.Args[0])
	fmt.Fprintf(stderr, "%s: unknown command %s\n\n%s", program, quoteArgument(name), usageOf(program))
	return exitUsage
}

func parse(flags *pflag.FlagSet, args []string, cmd command) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if c, takes := cmd.(interface{ takeArguments([]string) error }); takes {
		if err := c.takeArguments(flags.Args()); err != nil {
			return err
		}
	} else if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %s: everything is a flag", quoteArgument(flags.Arg(0)))
	}
	return cmd.validate()
}

// quoteArgument leaves out an argument that looks like a robot's address or secret.
func quoteArgument(text string) string {
	if alert.LooksSecret(text) {
		return "(not shown: it looks like a secret)"
	}
	return strconv.Quote(text)
}
