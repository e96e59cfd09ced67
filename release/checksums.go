package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
)

// writeChecksums writes what sha256sum --check reads.
func (r *release) writeChecksums(context.Context) error {
	files, err := os.ReadDir(r.dir) // sorted
	if err != nil {
		return fmt.Errorf("list the release: %w", err)
	}
	var lines strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(r.path(file.Name()))
		if err != nil {
			return fmt.Errorf("read file: %w", err)
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(content), file.Name())
	}
	if err := os.WriteFile(r.path("checksums.txt"), []byte(lines.String()), 0o644); err != nil {
		return fmt.Errorf("write checksums: %w", err)
	}
	return nil
}
