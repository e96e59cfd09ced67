package main

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot/plotter"
)

// table is a data file: a comment that says how it was measured, a header, and rows.
type table struct {
	conditions string
	header     []string
	rows       [][]string
}

func readTable(name string) (table, error) {
	file, err := os.Open(name)
	if err != nil {
		return table{}, fmt.Errorf("read data: %w", err)
	}
	defer file.Close()
	in := bufio.NewReader(file)
	first, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(first, "# ") {
		return table{}, fmt.Errorf("read data: %s does not begin with a comment that says how it was measured", name)
	}
	rows, err := csv.NewReader(in).ReadAll()
	if err != nil {
		return table{}, fmt.Errorf("read data: %s: %w", name, err)
	}
	if len(rows) < 2 {
		return table{}, fmt.Errorf("read data: %s has no rows", name)
	}
	return table{strings.TrimSpace(first[2:]), rows[0], rows[1:]}, nil
}

// line is what a plot shows of one subject.
type line struct {
	name string
	plotter.XYs
}

// lines are the columns x and y of each subject, which the first column names, in the order of the file.
func (t table) lines(x, y string) ([]line, error) {
	xs, err := t.column(x)
	if err != nil {
		return nil, err
	}
	ys, err := t.column(y)
	if err != nil {
		return nil, err
	}
	var all []line
	for i, row := range t.rows {
		if len(all) == 0 || all[len(all)-1].name != row[0] {
			all = append(all, line{name: row[0]})
		}
		last := &all[len(all)-1]
		last.XYs = append(last.XYs, plotter.XY{X: xs[i], Y: ys[i]})
	}
	return all, nil
}

func (t table) column(name string) ([]float64, error) {
	for i, title := range t.header {
		if title != name {
			continue
		}
		values := make([]float64, len(t.rows))
		for j, row := range t.rows {
			var err error
			if values[j], err = strconv.ParseFloat(row[i], 64); err != nil {
				return nil, fmt.Errorf("column %s, row %d: %w", name, j+1, err)
			}
		}
		return values, nil
	}
	return nil, fmt.Errorf("no column %s, only %v", name, t.header)
}
