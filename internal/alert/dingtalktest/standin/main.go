// Command standin serves the DingTalk stand-in: the robot at one address, its
// control at another. It is for test clusters only.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
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
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	robot := dingtalktest.New(o)
	servers := []*http.Server{
		{Addr: *listen, Handler: robot, ReadHeaderTimeout: 10 * time.Second},
		{Addr: *control, Handler: robot.Control(), ReadHeaderTimeout: 10 * time.Second},
	}
	ended := make(chan error, len(servers))
	for _, s := range servers {
		go func() { ended <- s.ListenAndServe() }()
	}
	var errs []error
	joined := 0
	select {
	case <-ctx.Done():
	case err := <-ended:
		errs, joined = append(errs, err), 1
	}
	for _, s := range servers {
		_ = s.Close() // ends calls that hang by design
	}
	for ; joined < len(servers); joined++ {
		errs = append(errs, <-ended)
	}
	for i, err := range errs {
		if errors.Is(err, http.ErrServerClosed) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}
