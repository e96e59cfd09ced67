// Command sts-webhook is a self-bootstrapping mutating admission webhook that
// places the pods of a StatefulSet by their ordinal.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sts-mutating-webhook/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(app.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
