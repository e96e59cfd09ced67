package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"sts-mutating-webhook/internal/rotator"
)

// rotate is the command that asks the fleet for a new CA.
type rotate struct {
	namespaceFlag
	clusterFlags
	distrust bool
	timeout  time.Duration
}

func (c *rotate) addFlags(g *flagGroups) {
	f := g.group("Command")
	c.namespaceFlag.addFlags(f, cmp.Or(os.Getenv("POD_NAMESPACE"), "custom-system"))
	c.clusterFlags.addFlags(f)
	f.BoolVar(&c.distrust, "distrust-now", false, "a key leaked: trust the new CA alone, at once, instead of the old one too for --ca-overlap")
	f.DurationVar(&c.timeout, "timeout", time.Minute, "how long to wait for the webhook to act")
}

func (c *rotate) validate() error {
	if c.timeout <= 0 {
		return fmt.Errorf("--timeout=%s: must be positive", c.timeout)
	}
	return c.namespaceFlag.validate()
}

func (c *rotate) run(ctx context.Context, stdout, _ io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cl, _, err := c.connect()
	if err != nil {
		return err
	}
	if err := rotator.Request(ctx, cl, c.namespace, c.distrust, stdout); err != nil {
		return err
	}
	if c.distrust {
		fmt.Fprintln(stdout, "done: nothing that an older CA signed is trusted any more")
		return nil
	}
	fmt.Fprintln(stdout, "done: the new CA signs; the old one stays trusted for --ca-overlap, and is dropped by itself")
	return nil
}
