// Command plots draws docs/plots/*.svg from the files that the suites wrote into docs/data:
//
//	go run . -data ../../docs/data -out ../../docs/plots     (make plots)
//
// It measures nothing. "make plot-data" writes the data.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

func main() {
	data := flag.String("data", "../../docs/data", "directory that holds the data")
	out := flag.String("out", "../../docs/plots", "directory for the plots")
	flag.Parse()
	if err := run(*data, *out); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

// figure is one plot: where its data is, and how it is drawn.
type figure struct {
	// name is that of the data file and of the plot, without their suffixes.
	name string
	make func(table) (*plot.Plot, error)
}

func figures() []figure {
	return []figure{
		{"rekey", refusals},
		{"latency-calls", distributions("Webhook calls, 6.9 KB, 500 per second", "latency of a call, ms")},
		{"latency-creations", distributions("Pod creations through kube-apiserver, 150 per second", "latency of a creation, ms")},
	}
}

func run(data, out string) error {
	var errs []error
	for _, f := range figures() {
		svg, err := draw(f, filepath.Join(data, f.name+".csv"))
		if err == nil {
			err = os.WriteFile(filepath.Join(out, f.name+".svg"), svg, 0o644)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("draw %s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

// draw returns the plot of a data file.
func draw(f figure, file string) ([]byte, error) {
	t, err := readTable(file)
	if err != nil {
		return nil, err
	}
	p, err := f.make(t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	w, err := p.WriterTo(20*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return nil, err
	}
	var svg bytes.Buffer
	_, err = w.WriteTo(&svg)
	// Not everybody has the font; these have letters of the same widths, or nearly so.
	return bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), err
}
