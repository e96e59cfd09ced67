// Package output prints the rows of a command as kubectl does.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"sts-mutating-webhook/internal/printable"
)

// Formats are the ways to print, as kubectl's -o names them.
var Formats = []string{"table", "wide", "json", "yaml"}

// none is what kubectl prints for nothing.
const none = "<none>"

// Print writes items in one of Formats. cells returns the columns of an item, nil if a table leaves it out; what a terminal
// could take for a command is escaped in them. A table without items has no header.
func Print[T any](w io.Writer, format string, items []T, header []string, cells func(*T) []string) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "    ")
		return e.Encode(items)
	case "yaml":
		text, err := yaml.Marshal(items)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	t := tabwriter.NewWriter(w, 6, 4, 3, ' ', 0)
	headed := false
	for i := range items {
		line := cells(&items[i])
		if line == nil {
			continue
		}
		if !headed {
			fmt.Fprintln(t, strings.Join(header, "\t"))
			headed = true
		}
		for n := range line {
			line[n] = printable.Text(line[n])
		}
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	return t.Flush()
}

// OrNone is text, or what kubectl prints for nothing.
func OrNone(text string) string {
	if text == "" {
		return none
	}
	return text
}
