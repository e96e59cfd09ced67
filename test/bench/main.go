// Command bench compares the webhook with the least that a webhook can cost and
// with the ways that others go, on a real cluster of this machine (root):
//
//   - floor: a bare Go TLS server that reads the body and answers fixed bytes
//   - ours: the image and manifests of this checkout
//   - textbook: test/textbook, a typed controller-runtime handler
//   - a MutatingAdmissionPolicy, which needs no webhook
//
// All servers run in pods of one node and are measured in turn, round by round;
// a result is the median of the rounds, a ratio the median of the rounds' ratios.
// It asserts nothing: the table says which targets are met.
//
//	go run ./test/bench                             print the table
//	go run ./test/bench -write docs/performance.md  and put it into the document
//	go run ./test/bench -data docs/data             and write the latencies that test/plots draws
//
// A cluster of the name in CLUSTER_NAME is used and kept; otherwise one is made and
// removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/document"
)

// writer names this program in the markers of a document.
const writer = "test/bench"

// connections is how many kept-alive connections carry the calls.
const connections = 8

// settings are the command line.
type settings struct {
	write  string
	data   string
	rounds int
	turn   time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.write, "write", "", "document whose part between the markers becomes the report; empty writes none")
	flag.StringVar(&s.data, "data", "", "directory for the latencies that test/plots draws; empty writes none")
	flag.IntVar(&s.rounds, "rounds", 7, "rounds over which medians are taken, at least 1")
	flag.DurationVar(&s.turn, "turn", 4*time.Second, "how long each server is measured in each round, at least 1 s")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if s.rounds < 1 || s.turn < time.Second || flag.NArg() > 0 {
		return fmt.Errorf("check flags: -rounds %d must be at least 1, -turn %s at least 1s, and there are no arguments", s.rounds, s.turn)
	}
	_, attachErr := cluster.Attach("")
	c, err := cluster.Up(ctx, cluster.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	if attachErr != nil { // it was not there before
		defer func() { err = errors.Join(err, c.Down()) }()
	}
	dir, err := os.MkdirTemp("", "sts-webhook-bench")
	if err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	defer os.RemoveAll(dir)
	b, err := newBench(c, dir)
	if err != nil {
		return err
	}
	if err := b.install(ctx); err != nil {
		return err
	}
	r, err := b.measure(ctx, s)
	if err != nil {
		return err
	}
	report := b.markdown(r)
	fmt.Println(report)
	if s.data != "" {
		if err := b.writeLatencies(b.webhook.Path(s.data), r); err != nil {
			return err
		}
	}
	if s.write == "" {
		return nil
	}
	return document.Replace(b.webhook.Path(s.write), writer, report)
}

// idleTime is how long the servers rest before their idle memory is read.
const idleTime = 15 * time.Second

func (b *bench) measure(ctx context.Context, s settings) (results, error) {
	r := results{conditions: conditions(s)}
	step := func(text string) { fmt.Fprintln(os.Stderr, time.Now().Format(time.TimeOnly), text) }
	review, err := os.ReadFile(b.webhook.Path("internal/mutator/testdata/review.json"))
	if err != nil {
		return r, fmt.Errorf("read review: %w", err)
	}
	step("start-up")
	if r.startup, err = b.measureStartup(ctx, 2); err != nil {
		return r, err
	}
	if err := b.find(ctx); err != nil { // the restart has replaced the replica
		return r, err
	}
	step("idle")
	select {
	case <-time.After(idleTime):
	case <-ctx.Done():
		return r, context.Cause(ctx)
	}
	step("calls of 6.9 KB")
	if r.review, err = b.measureDirect(ctx, calls{review, connections, s.rounds, s.turn, true}); err != nil {
		return r, err
	}
	step("pod creations")
	if r.creations, err = b.measureCreations(ctx, s.rounds, s.turn); err != nil {
		return r, err
	}
	for _, large := range []struct {
		name              string
		size, connections int
	}{
		{"100 KiB", 100 << 10, connections},
		// More at once would be told to come back later, see server.DefaultBodyBudget.
		{"3 MiB, 4 connections", 3 << 20, 4},
	} {
		step("calls of " + large.name)
		body, err := largeReview(review, large.size)
		if err != nil {
			return r, err
		}
		d, err := b.measureDirect(ctx, calls{body, large.connections, 3, s.turn, false})
		if err != nil {
			return r, err
		}
		r.large = append(r.large, sized{large.name, d})
	}
	step("Go benchmark")
	if r.core, err = b.measureCore(ctx); err != nil {
		return r, err
	}
	r.binary, r.image, err = b.sizes()
	return r, err
}

// conditions is the line above the tables.
func conditions(s settings) string {
	return fmt.Sprintf("%s, %s, %d CPUs, one-minute load before the run %s; TLS 1.3, %d kept-alive connections, medians of %d rounds of %s in turn. Memory: anonymous + what the kernel holds for the container, neither of which it can reclaim; then the working set.",
		time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), loadAverage(), connections, s.rounds, s.turn)
}
