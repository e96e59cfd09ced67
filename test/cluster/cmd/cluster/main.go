// Command cluster brings the test cluster up and down and works with it.
//
//	cluster up                 bring it up, or find it running
//	cluster down               remove it, whatever state it is in
//	cluster status             nodes and daemons
//	cluster kubectl ARGS...    kubectl as administrator
//	cluster load-image FILE    load a "docker save" archive into every node
//	cluster build-image FILE   write the webhook's image as such an archive
//
// --name, or the variable CLUSTER_NAME, chooses among several clusters.
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

  up [--nodes N]     bring the cluster up, or find it running
  down               remove it, whatever state it is in
  status             nodes and daemons
  kubectl ARGS...    kubectl as administrator
  load-image FILE    load a "docker save" archive into every node
  build-image FILE   write the webhook's image as such an archive

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
	nodes := flags.Int("nodes", 3, "number of nodes for up, 1 to 9")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	command, rest := flags.Arg(0), flags.Args()
	if len(rest) > 0 {
		rest = rest[1:]
	}
	switch command {
	case "up":
		_, err := cluster.Up(ctx, cluster.Options{Name: *name, Nodes: *nodes, Log: os.Stderr})
		return err
	case "down":
		return cluster.Down(ctx, *name)
	case "status":
		return status(*name)
	case "kubectl":
		return kubectl(*name, rest)
	case "load-image", "build-image":
		return image(ctx, command, *name, rest)
	}
	flags.Usage()
	return fmt.Errorf("find command %q: there is none of that name", command)
}

func image(ctx context.Context, command, name string, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: give one file", command)
	}
	if command == "build-image" {
		return cluster.BuildWebhookImage(ctx, args[0])
	}
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	return c.LoadImage(ctx, args[0])
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

func status(name string) error {
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	for _, d := range c.Daemons() {
		state := "stopped"
		if d.PID != 0 {
			state = fmt.Sprintf("pid %d", d.PID)
		}
		fmt.Printf("%-28s %-12s %s\n", d.Name, state, c.LogPath(d.Name))
	}
	return kubectl(name, []string{"get", "nodes", "--output=wide"})
}
