package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"sts-mutating-webhook/internal/check"
)

const (
	defaultWait = 2 * time.Minute
	// waitInterval is between two looks at a cluster with problems.
	waitInterval = time.Second
)

// checkCommand says whether an installation works.
type checkCommand struct {
	clusterFlags
	outputFlag
	namespace string
	pre       bool
	wait      time.Duration

	// dial replaces connect in tests, interval waitInterval.
	dial     func() (*check.Cluster, error)
	interval time.Duration
}

func newCheck() *checkCommand {
	c := &checkCommand{interval: waitInterval}
	c.dial = c.connectCheck
	return c
}

func (c *checkCommand) addFlags(g *flagGroups) {
	f := g.group("Check")
	f.BoolVar(&c.pre, "pre", false, "check the cluster before an installation instead")
	f.DurationVar(&c.wait, "wait", 0, "look again every second until there is no problem, for so long at most; --wait alone means "+defaultWait.String())
	f.Lookup("wait").NoOptDefVal = defaultWait.String()
	f.StringVarP(&c.namespace, "namespace", "n", "default", "namespace in which a pod and a StatefulSet are created as dry runs")
	c.clusterFlags.addFlags(f)
	c.outputFlag.addFlags(f)
}

func (c *checkCommand) validate() error {
	errs := []error{c.outputFlag.validate()}
	if msgs := validation.IsDNS1123Label(c.namespace); len(msgs) > 0 {
		errs = append(errs, fmt.Errorf("--namespace=%s: %s", c.namespace, msgs[0]))
	}
	if slices.Contains([]string{check.Namespace, "kube-system"}, c.namespace) {
		errs = append(errs, fmt.Errorf("--namespace=%s: the webhook is not called for it; use another one", c.namespace))
	}
	if c.wait < 0 {
		errs = append(errs, fmt.Errorf("--wait=%s: must not be negative", c.wait))
	}
	if c.wait > 0 && c.pre {
		errs = append(errs, fmt.Errorf("--wait=%s: does not go with --pre", c.wait))
	}
	return errors.Join(errs...)
}

func (c *checkCommand) connectCheck() (*check.Cluster, error) {
	config, err := c.load().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	return check.Connect(config)
}

// run prints the results to stdout. A problem is an error of the command; without an answer of the apiserver there are no results.
func (c *checkCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	cluster, err := c.dial()
	if err != nil {
		return unreachable{err}
	}
	results, err := c.results(ctx, cluster, stderr)
	if err != nil {
		return unreachable{fmt.Errorf("reach the apiserver: %w", err)}
	}
	if err := check.Print(stdout, c.output, results); err != nil {
		return err
	}
	problems, warnings := check.Count(results, check.Problem), check.Count(results, check.Warning)
	summary := fmt.Sprintf("%s: %s, %s", count(len(results), "check"), count(problems, "problem"), count(warnings, "warning"))
	if problems > 0 {
		return errors.New(summary)
	}
	fmt.Fprintln(stderr, summary)
	return nil
}

// results looks until there is no problem, or there is no more time to wait. What it waits for goes to stderr whenever that changes.
func (c *checkCommand) results(ctx context.Context, cluster *check.Cluster, stderr io.Writer) ([]check.Result, error) {
	begin, last := time.Now(), ""
	for {
		results, err := c.look(ctx, cluster)
		if time.Since(begin)+c.interval > c.wait || err == nil && check.Count(results, check.Problem) == 0 {
			return results, err
		}
		if now := waitsFor(results, err); now != last {
			fmt.Fprintf(stderr, "%4.0fs  waiting: %s\n", time.Since(begin).Seconds(), now)
			last = now
		}
		select {
		case <-ctx.Done():
			return results, err
		case <-time.After(c.interval):
		}
	}
}

// waitsFor names the problems.
func waitsFor(results []check.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	var problems []string
	for _, r := range results {
		if r.Status == check.Problem {
			problems = append(problems, r.Check+": "+r.Message)
		}
	}
	return strings.Join(problems, "; ")
}

// look looks once. It fails if nothing can be learnt: who may not read the version may read other things.
func (c *checkCommand) look(ctx context.Context, cluster *check.Cluster) ([]check.Result, error) {
	if _, err := cluster.Reach(ctx); err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	if c.pre {
		return check.MakePre(cluster.PreSnapshot(ctx)), nil
	}
	version, _ := programVersion()
	return check.Make(cluster.Snapshot(ctx, check.Options{Program: version, Namespace: c.namespace, ParseFlags: flagsOf})), nil
}

// flagsOf reads the arguments of the webhook's container, as that does.
func flagsOf(args []string) (check.Flags, error) {
	read := func(args []string) (check.Flags, error) {
		var groups flagGroups
		s := newServe()
		s.addFlags(&groups)
		flags := groups.all("serve")
		flags.SetOutput(io.Discard)
		err := flags.Parse(args)
		return check.Flags{
			Policy: s.policy, Events: s.events, CheckNodes: s.checks.nodes, CheckVolume: s.checks.volumes, AlertURLFile: s.alerts.URLFile,
		}, err
	}
	f, err := read(args)
	if err != nil {
		f, _ = read(nil)
		if errors.Is(err, pflag.ErrHelp) {
			err = errors.New("--help: the container serves nothing")
		}
	}
	return f, err
}
