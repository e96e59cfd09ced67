package app

import (
	"context"
	"fmt"
	"io"
	"time"

	"sts-mutating-webhook/internal/alert"
)

// alertTest is the command that sends one test message.
type alertTest struct {
	alertOptions
	timeout time.Duration
}

func (c *alertTest) addFlags(g *flagGroups) {
	c.alertOptions.addFlags(g)
	g.group("Command").DurationVar(&c.timeout, "timeout", 15*time.Second, "how long to wait for the answer")
}

func (c *alertTest) validate() error {
	if c.timeout <= 0 {
		return fmt.Errorf("--timeout=%s: must be positive", c.timeout)
	}
	return c.alertOptions.validate()
}

func (c *alertTest) run(ctx context.Context, stdout, _ io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	notifier, err := alert.New(c.Options)
	if err != nil {
		return err
	}
	answer, err := notifier.Test(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, answer)
	return nil
}
