package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Columns of the terminal. Longer lines go on in the next one.
const columns = 118

// cast is a recording: https://docs.asciinema.org/manual/asciicast/v2/
type cast struct {
	header header
	events []event
}

type header struct {
	Version       int     `json:"version"`
	Width         int     `json:"width"`
	Height        int     `json:"height"`
	Timestamp     int64   `json:"timestamp"`
	IdleTimeLimit float64 `json:"idle_time_limit"`
	Title         string  `json:"title"`
}

// event is a line that appeared at a time after the start.
type event struct {
	at   time.Duration
	line string
}

// record runs the program; its output is also shown. A program that fails is no recording.
func record(ctx context.Context, title string, args []string) (cast, error) {
	c := cast{header: header{Version: 2, Width: columns, Timestamp: time.Now().Unix(), IdleTimeLimit: idleLimit.Seconds(), Title: title}}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes what it has begun
	out, err := cmd.StdoutPipe()
	if err != nil {
		return c, fmt.Errorf("record: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return c, fmt.Errorf("record %s: %w", title, err)
	}
	c.events = append(c.events, event{0, "$ " + title})
	lines := bufio.NewScanner(io.TeeReader(out, os.Stdout))
	for lines.Scan() {
		for _, part := range wrap(strings.TrimRight(lines.Text(), " "), columns) {
			c.events = append(c.events, event{time.Since(begin).Round(time.Millisecond), part})
		}
	}
	_, _ = io.Copy(io.Discard, out) // after an error of the scanner the command goes on
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return c, fmt.Errorf("record %s: %w", title, err)
	}
	c.header.Height = len(c.events)
	return c, nil
}

// wrap breaks a line at blanks; what follows is indented as the line is.
func wrap(line string, width int) (parts []string) {
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	for len(line) > width {
		i := strings.LastIndex(line[:width], " ")
		if i <= len(indent) {
			i = width
		}
		parts = append(parts, line[:i])
		line = indent + strings.TrimLeft(line[i:], " ")
	}
	return append(parts, line)
}

func (c cast) encode() []byte {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	_ = lines.Encode(c.header) // a buffer takes everything
	for _, e := range c.events {
		_ = lines.Encode([]any{e.at.Seconds(), "o", e.line + "\r\n"})
	}
	return b.Bytes()
}

func decode(text []byte) (c cast, err error) {
	lines := json.NewDecoder(bytes.NewReader(text))
	if err := lines.Decode(&c.header); err != nil {
		return c, fmt.Errorf("read cast: %w", err)
	}
	for lines.More() {
		var at float64
		var kind, line string
		if err := lines.Decode(&[]any{&at, &kind, &line}); err != nil {
			return c, fmt.Errorf("read cast: %w", err)
		}
		c.events = append(c.events, event{time.Duration(at * float64(time.Second)).Round(time.Millisecond), strings.TrimSuffix(line, "\r\n")})
	}
	return c, nil
}
