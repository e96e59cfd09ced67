// Command cluster brings the test cluster up and down and works with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"sts-mutating-webhook/test/cluster"
)

const usage = `Usage: cluster [--name NAME] COMMAND

  up                 bring the cluster up, or find it running
  down               remove it, whatever state it is in
  kubectl ARGS...    kubectl as administrator
  build-image FILE   write the webhook's image as a "docker save" archive

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("cluster", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage, flags.FlagUsages()) }
	name := flags.String("name", "", "cluster `name`; empty means $CLUSTER_NAME or "+cluster.DefaultName)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	switch command := flags.Arg(0); {
	case command == "up":
		_, err := cluster.Up(ctx, cluster.Options{Name: *name, Log: os.Stderr})
		return err
	case command == "down":
		return cluster.Down(ctx, *name)
	case command == "kubectl":
		return kubectl(*name, flags.Args()[1:])
	case command == "build-image" && flags.NArg() == 2:
		return cluster.BuildWebhookImage(ctx, flags.Arg(1))
	}
	flags.Usage()
	return fmt.Errorf("run %q: there is no such command", flags.Args())
}

// kubectl shares this process's terminal, so that exec and edit work.
func kubectl(name string, args []string) error {
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	argv := c.KubectlCommand(args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
