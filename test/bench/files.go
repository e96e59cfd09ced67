package main

import (
	"fmt"
	"os"
	"strings"

	"sts-mutating-webhook/test/process"
)

func writeFile(name, content string) error {
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	return nil
}

// loadAverage is how busy the machine was over the last minute.
func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

// sizes are those of our binary and of the image around it.
func (b *bench) sizes() (binary, image int64, err error) {
	exe, err := os.Stat(process.Executable(b.ours.pid))
	if err != nil {
		return 0, 0, fmt.Errorf("measure binary: %w", err)
	}
	archive, err := os.Stat(b.ours.archive)
	if err != nil {
		return 0, 0, fmt.Errorf("measure image: %w", err)
	}
	return exe.Size(), archive.Size(), nil
}
