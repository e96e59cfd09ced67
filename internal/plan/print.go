package plan

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/internal/output"
)

// Print writes rows in one of output.Formats. A table holds the pods, a wide one also
// what matches and what is wrong.
func Print(w io.Writer, format string, rows []Row) error {
	header := []string{"NAMESPACE", "STATEFULSET", "ORDINAL", "NODE SELECTOR", "PREFERRED", "TOLERATIONS"}
	if format == "wide" {
		header = append(header, "POD", "NODES", "PROBLEMS")
	}
	return output.Print(w, format, rows, header, func(r *Row) []string {
		if r.Ordinal == nil && format != "wide" {
			return nil
		}
		ordinal, selector := "*", output.OrNone("")
		if r.Ordinal != nil {
			ordinal, selector = strconv.Itoa(int(*r.Ordinal)), SelectorText(r.NodeSelector)
		}
		if r.Refused() {
			selector = "<refused>"
		}
		cells := []string{r.Namespace, r.StatefulSet, ordinal, selector, PreferredText(r.Preferred), TolerationsText(r.Tolerations)}
		if format == "wide" {
			cells = append(cells, output.OrNone(r.Pod), nodesText(r), problemsText(r.Problems))
		}
		return cells
	})
}

// PrintMoves writes moves in one of output.Formats; wide is the same as table.
func PrintMoves(w io.Writer, format string, moves []Move) error {
	header := []string{"NAMESPACE", "STATEFULSET", "ORDINAL", "CHANGE", "FROM", "TO"}
	return output.Print(w, format, moves, header, func(m *Move) []string {
		return []string{m.Namespace, m.StatefulSet, strconv.Itoa(int(m.Ordinal)), string(m.Change), m.From.String(), m.To.String()}
	})
}

// SelectorText writes a nodeSelector as kubectl writes labels, ordered by key.
func SelectorText(selector map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		parts = append(parts, key+"="+selector[key])
	}
	return output.OrNone(strings.Join(parts, ","))
}

func nodesText(r *Row) string {
	if r.Nodes == nil {
		return "<unknown>"
	}
	return output.OrNone(strings.Join(r.Nodes, ","))
}

func problemsText(problems []Problem) string {
	var parts []string
	for _, p := range problems {
		parts = append(parts, fmt.Sprintf("%s: %s: %s", p.Severity, p.Field, p.Message))
	}
	return output.OrNone(strings.Join(parts, " | "))
}

// String says by which nodes the pod is scheduled, without tolerations; of nil, that there is no pod.
func (p *Place) String() string {
	if p == nil {
		return output.OrNone("")
	}
	var parts []string
	if len(p.NodeSelector) > 0 {
		parts = append(parts, SelectorText(p.NodeSelector))
	}
	if len(p.Preferred) > 0 {
		parts = append(parts, "preferred "+PreferredText(p.Preferred))
	}
	return output.OrNone(strings.Join(parts, ", "))
}

// PreferredText writes the terms of the rules as key=value, others with their
// weight and operators.
func PreferredText(terms []corev1.PreferredSchedulingTerm) string {
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
	return output.OrNone(strings.Join(parts, ","))
}

// TolerationsText writes tolerations as kubectl taint writes taints.
func TolerationsText(tolerations []corev1.Toleration) string {
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
	return output.OrNone(strings.Join(parts, ","))
}
