package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-01736000 r-xp 00000000 fe:00 42                   /sts-webhook
Size:              19672 kB
Anonymous:             0 kB
01736000-02b4f000 r--p 01336000 fe:00 42                   /sts-webhook
Anonymous:             8 kB
02b4f000-02bd0000 r--p 0274f000 fe:00 42                   /sts-webhook
Anonymous:             0 kB
02bd0000-02be0000 rw-p 027d0000 fe:00 42                   /sts-webhook
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 43                   /lib/other.so
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                    [vdso]
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x1736000}, {0x2b4f000, 0x2bd0000}}
	if got := cleanMappings(smaps, "/sts-webhook"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x: only read-only mappings of the program without pages of their own", got, want)
	}
}

func TestPagesAreGivenBackOnceReady(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: 1})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (pages{func() error { return errors.New("starting") }, log}).Start(ctx); err != nil || len(lines) > 0 {
		t.Errorf("before the start is over: got %v, %q, want nothing done", err, lines)
	}
	before := residentFile(t)
	if err := (pages{func() error { return nil }, log}).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "are given back") {
		t.Errorf("logged %q", lines)
	}
	// The pages that this test itself needs come back at once, so a half is asked for, not all.
	if after := residentFile(t); after > before/2 {
		t.Errorf("%d KiB of the program's file are mapped, %d KiB before", after, before)
	}
}

// residentFile is RssFile of this process in KiB.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nRssFile:")
	var kib int
	if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
