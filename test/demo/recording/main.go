// Command recording runs a program and keeps what it printed and when:
//
//	recording -cast docs/demo.cast -svg docs/demo.svg -title "make demo" -- go run ./test/demo     (make recording)
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
	title := flag.String("title", "", "what the first line shows as typed")
	flag.Parse()
	if *castFile == "" || *svgFile == "" || *title == "" || flag.NArg() == 0 {
		return errors.New("check arguments: want -cast FILE -svg FILE -title COMMAND -- PROGRAM ARGUMENTS")
	}
	c, err := record(ctx, *title, flag.Args())
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(*castFile, c.encode(), 0o644), os.WriteFile(*svgFile, []byte(c.svg()), 0o644))
}
