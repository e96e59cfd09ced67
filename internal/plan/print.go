package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Formats are the ways to print, as kubectl's -o names them.
var Formats = []string{"table", "wide", "json", "yaml"}

// none is what kubectl prints for nothing.
const none = "<none>"

// Print writes rows in one of Formats. A table holds the pods, a wide one also
// what matches and what is wrong.
func Print(w io.Writer, format string, rows []Row) error {
	header := []string{"NAMESPACE", "STATEFULSET", "ORDINAL", "NODE SELECTOR", "PREFERRED", "TOLERATIONS"}
	if format == "wide" {
		header = append(header, "POD", "NODES", "PROBLEMS")
	}
	return print(w, format, rows, header, func(r *Row) []string {
		if r.Ordinal == nil && format != "wide" {
			return nil
		}
		ordinal, selector := "*", none
		if r.Ordinal != nil {
			ordinal, selector = strconv.Itoa(int(*r.Ordinal)), selectorText(r.NodeSelector)
		}
		if r.Refused() {
			selector = "<refused>"
		}
		cells := []string{r.Namespace, r.StatefulSet, ordinal, selector, preferredText(r.Preferred), tolerationsText(r.Tolerations)}
		if format == "wide" {
			cells = append(cells, orNone(r.Pod), nodesText(r), problemsText(r.Problems))
		}
		return cells
	})
}

// PrintMoves writes moves in one of Formats; wide is the same as table.
func PrintMoves(w io.Writer, format string, moves []Move) error {
	header := []string{"NAMESPACE", "STATEFULSET", "ORDINAL", "CHANGE", "FROM", "TO"}
	return print(w, format, moves, header, func(m *Move) []string {
		return []string{m.Namespace, m.StatefulSet, strconv.Itoa(int(m.Ordinal)), string(m.Change), placeText(m.From), placeText(m.To)}
	})
}

// print writes items in one of Formats. cells returns the columns of an item, nil
// if a table leaves it out.
func print[T any](w io.Writer, format string, items []T, header []string, cells func(*T) []string) error {
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
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	return t.Flush()
}

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}

func selectorText(selector map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		parts = append(parts, key+"="+selector[key])
	}
	return orNone(strings.Join(parts, ","))
}

func nodesText(r *Row) string {
	if r.Nodes == nil {
		return "<unknown>"
	}
	return orNone(strings.Join(r.Nodes, ","))
}

func problemsText(problems []Problem) string {
	var parts []string
	for _, p := range problems {
		parts = append(parts, fmt.Sprintf("%s: %s: %s", p.Severity, p.Field, p.Message))
	}
	return orNone(strings.Join(parts, " | "))
}

func placeText(p *Place) string {
	if p == nil {
		return none
	}
	var parts []string
	if len(p.NodeSelector) > 0 {
		parts = append(parts, selectorText(p.NodeSelector))
	}
	if len(p.Preferred) > 0 {
		parts = append(parts, "preferred "+preferredText(p.Preferred))
	}
	return orNone(strings.Join(parts, ", "))
}

// preferredText writes the terms of the rules as key=value, others with their
// weight and operators.
func preferredText(terms []corev1.PreferredSchedulingTerm) string {
	var parts []string
	for _, t := range terms {
		var expressions []string
		for _, r := range slices.Concat(t.Preference.MatchExpressions, t.Preference.MatchFields) {
			switch {
			case r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1:
				expressions = append(expressions, r.Key+"="+r.Values[0])
			case len(r.Values) == 0:
				expressions = append(expressions, r.Key+" "+string(r.Operator))
			default:
				expressions = append(expressions, fmt.Sprintf("%s %s (%s)", r.Key, r.Operator, strings.Join(r.Values, ",")))
			}
		}
		text := strings.Join(expressions, "&")
		if t.Weight != 100 {
			text += fmt.Sprintf(" (weight %d)", t.Weight)
		}
		parts = append(parts, text)
	}
	return orNone(strings.Join(parts, ","))
}

// tolerationsText writes tolerations as kubectl taint writes taints.
func tolerationsText(tolerations []corev1.Toleration) string {
	var parts []string
	for _, t := range tolerations {
		text := t.Key
		if t.Operator != corev1.TolerationOpExists {
			text += "=" + t.Value
		}
		if t.Effect != "" {
			text += ":" + string(t.Effect)
		}
		parts = append(parts, text)
	}
	return orNone(strings.Join(parts, ","))
}
