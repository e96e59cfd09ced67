package app

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// readyPoll is how often it is looked whether the start is over.
const readyPoll = time.Second

// pages gives back, once ready says that the start is over, the pages of the
// program's own file that only the start needed: the start-up code of Kubernetes'
// API groups touches nearly all of a 40 MB file. They are clean copies of the file;
// those still in use are mapped again at their next use, out of the page cache.
type pages struct {
	ready func() error
	log   logr.Logger
}

// Start returns when the pages were given back or ctx ends. What goes wrong costs
// memory only, so it is logged and is no error.
func (p pages) Start(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for p.ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	given, err := dropOwnPages()
	if err != nil {
		p.log.V(1).Info("the pages of the start are not given back", "cause", err.Error())
		return nil
	}
	p.log.V(1).Info("the pages of the start are given back", "mappedBytes", given)
	return nil
}

// dropOwnPages unmaps every page of the program's file that is a clean copy of it,
// and returns how many bytes such mappings span.
func dropOwnPages() (int64, error) {
	file, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0, fmt.Errorf("find own program: %w", err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("read own mappings: %w", err)
	}
	var total int64
	for _, m := range cleanMappings(string(smaps), file) {
		// A system call without a pointer: the range is not Go's memory, it is mapped as long as the program lives.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.begin, m.end-m.begin, unix.MADV_DONTNEED); errno != 0 {
			return total, fmt.Errorf("give back pages: %w", errno)
		}
		total += int64(m.end - m.begin)
	}
	return total, nil
}

type mapping struct{ begin, end uintptr }

// cleanMappings picks the mappings of file, from the text of /proc/PID/smaps
// (proc(5)), that are read-only and hold no page of their own: a relocation table
// was written to before it became read-only, and must stay.
func cleanMappings(smaps, file string) []mapping {
	var found []mapping
	var m mapping
	for line := range strings.Lines(smaps) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 5 && len(fields[1]) == 4: // address, permissions, offset, device, inode and perhaps a path
			m = mapping{}
			if len(fields) == 6 && fields[5] == file && fields[1][1] == '-' {
				_, _ = fmt.Sscanf(fields[0], "%x-%x", &m.begin, &m.end) // on failure m is empty, or not closed
			}
		case len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && m.begin < m.end:
			found = append(found, m)
		}
	}
	return found
}
