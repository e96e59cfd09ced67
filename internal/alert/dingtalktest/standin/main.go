// Command standin serves the DingTalk stand-in: the robot at one address, its
// control at another. It is for test clusters only.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx ends or an address cannot be used.
func run(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("standin", pflag.ContinueOnError)
	listen := flags.String("listen", ":8080", "address of the robot, any path")
	control := flags.String("control", ":8081", "address of GET /messages, GET /stats and PUT /behaviour/{name}")
	var o dingtalktest.Options
	flags.StringVar(&o.Token, "token", "stand-in-token", "access_token that calls must carry")
	flags.StringVar(&o.Secret, "secret", "", "key of the signature; empty: signatures are not checked")
	flags.StringVar(&o.Keyword, "keyword", "", "must be in every message; empty: none is asked for")
	flags.StringVar(&o.Improper, "improper", "", "a word for which a message is refused with 430102; empty: none")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	robotListener, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen for the robot: %w", err)
	}
	controlListener, err := net.Listen("tcp", *control)
	if err != nil {
		_ = robotListener.Close()
		return fmt.Errorf("listen for the control: %w", err)
	}
	return serve(ctx, dingtalktest.New(o), robotListener, controlListener)
}

// serve answers at both listeners, which it closes, until ctx ends or one fails.
func serve(ctx context.Context, robot *dingtalktest.Robot, robotListener, controlListener net.Listener) error {
	servers := map[net.Listener]*http.Server{
		robotListener:   {Handler: robot, ReadHeaderTimeout: 10 * time.Second},
		controlListener: {Handler: robot.Control(), ReadHeaderTimeout: 10 * time.Second},
	}
	ended := make(chan error, len(servers)) // one value per server
	for listener, server := range servers {
		go func() { ended <- server.Serve(listener) }()
	}
	var errs []error
	select {
	case <-ctx.Done():
	case err := <-ended:
		errs = append(errs, err)
	}
	for _, server := range servers {
		_ = server.Close() // ends calls that hang by design
	}
	for len(errs) < len(servers) {
		errs = append(errs, <-ended)
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, http.ErrServerClosed) })...)
}
