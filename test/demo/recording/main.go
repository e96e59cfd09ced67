// Command recording runs a program and keeps what it printed and when:
//
//	recording -cast docs/demo.cast -svg docs/demo.svg -- go run ./test/demo     (make recording)
//
// The cast is an asciicast (version 2), for "asciinema play". The SVG is drawn from the cast alone: it shows the lines one
// after the other, with pauses cut to idleLimit, and stays at the last one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	castFile := flag.String("cast", "", "file for the asciicast")
	svgFile := flag.String("svg", "", "file for the SVG")
	title := flag.String("title", "", "what the first line shows as typed; empty is the program and its arguments")
	flag.Parse()
	if *castFile == "" || *svgFile == "" || flag.NArg() == 0 {
		return errors.New("check arguments: want -cast FILE -svg FILE -- PROGRAM ARGUMENTS")
	}
	if *title == "" {
		*title = strings.Join(flag.Args(), " ")
	}
	c, err := record(ctx, *title, flag.Args())
	if err != nil {
		return err
	}
	if err := os.WriteFile(*castFile, c.encode(), 0o644); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	if err := os.WriteFile(*svgFile, []byte(c.svg()), 0o644); err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return nil
}
