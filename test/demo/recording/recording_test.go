package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// The picture in the README is that of a run: the cast beside it says the same, and the demo's last words are in it.
func TestPictureIsDrawnFromTheRecordedRun(t *testing.T) {
	text, err := os.ReadFile("../../../docs/demo.cast")
	if err != nil {
		t.Fatal(err)
	}
	c, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.encode()); got != string(text) {
		t.Errorf("docs/demo.cast is not what the recording wrote: run make recording; got\n%s", got)
	}
	svg, err := os.ReadFile("../../../docs/demo.svg")
	if err != nil || string(svg) != c.svg() {
		t.Errorf("docs/demo.svg is not what docs/demo.cast gives (%v): run make recording", err)
	}
	for _, want := range []string{"every pod is right", "its 6 pods are still the same", "cluster-down"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("docs/demo.svg does not show %q", want)
		}
	}
}

func TestRecordKeepsLinesInOrder(t *testing.T) {
	c, err := record(t.Context(), "greet", []string{"sh", "-c", "echo one; echo two >&2; echo '  three'"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.events {
		got = append(got, e.line)
	}
	if want := []string{"$ greet", "one", "two", "  three"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	again, err := decode(c.encode())
	if err != nil || !slices.Equal(again.events, c.events) || again.header != c.header {
		t.Errorf("decoded: got %+v, %v, want %+v", again, err, c)
	}
}

func TestFailedProgramIsNoRecording(t *testing.T) {
	if _, err := record(t.Context(), "false", []string{"false"}); err == nil || !strings.Contains(err.Error(), "record false: exit status 1") {
		t.Errorf("got %v, want the exit status", err)
	}
}

func TestWrap(t *testing.T) {
	for line, want := range map[string][]string{
		"short":              {"short"},
		"":                   {""},
		"  one two three":    {"  one two", "  three"},
		"withoutanyblanks":   {"withoutany", "blanks"},
		"  withoutanyblanks": {"  withouta", "  nyblanks"},
	} {
		if got := wrap(line, 10); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestPausesAreCutAndTextsEscaped(t *testing.T) {
	c := cast{events: []event{{0, "$ a"}, {time.Second, "<b>"}, {time.Minute, "c"}}}
	svg := c.svg()
	for _, want := range []string{"animation-delay:0ms\">$ a<", "animation-delay:1000ms\">&lt;b&gt;<", "animation-delay:2500ms\">c<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
	}
}
