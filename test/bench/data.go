package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// distribution is a line of a plot.
type distribution struct {
	name string
	latencies
}

// writeLatencies writes the distributions of calls and of pod creations.
func (b *bench) writeLatencies(dir string, r results) error {
	var direct, creations []distribution
	for _, s := range b.servers() {
		direct = append(direct, distribution{s.name, r.review[s].paced})
	}
	for i, w := range ways {
		creations = append(creations, distribution{w.name, r.creations[i].all})
	}
	for name, d := range map[string][]distribution{"latency-calls.csv": direct, "latency-creations.csv": creations} {
		if err := writeDistributions(filepath.Join(dir, name), d); err != nil {
			return err
		}
	}
	return nil
}

func writeDistributions(name string, all []distribution) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write latencies: %w", err)
	}
	defer file.Close()
	if err := printDistributions(file, all); err != nil {
		return fmt.Errorf("write latencies: %w", err)
	}
	return nil
}

// printDistributions prints the percentiles of each, in milliseconds.
func printDistributions(out io.Writer, all []distribution) error {
	fmt.Fprintf(out, "# test/bench, %s, %s, %d CPUs, one-minute load at the end %s\n", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), loadAverage())
	w := csv.NewWriter(out)
	_ = w.Write([]string{"way", "percentile", "ms"}) // an error is kept for w.Error
	for _, d := range all {
		for _, p := range percentiles() {
			_ = w.Write([]string{d.name, strconv.FormatFloat(p, 'f', -1, 64), fmt.Sprintf("%.3f", d.percentile(p).Seconds()*1e3)})
		}
	}
	w.Flush()
	return w.Error()
}

// percentiles are those that a plot needs: every second one, and more towards the end.
func percentiles() (all []float64) {
	for p := 0; p < 98; p += 2 {
		all = append(all, float64(p))
	}
	return append(all, 98, 98.5, 99, 99.5, 99.9)
}
