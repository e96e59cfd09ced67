package audit

import (
	"io"

	"sts-mutating-webhook/internal/output"
	"sts-mutating-webhook/internal/plan"
)

// Print writes findings in one of output.Formats. A wide table also names pods and nodes.
func Print(w io.Writer, format string, findings []Finding) error {
	header := []string{"NAMESPACE", "STATEFULSET", "ORDINALS", "FINDING", "MESSAGE"}
	if format == "wide" {
		header = []string{"NAMESPACE", "STATEFULSET", "ORDINALS", "POD", "NODE", "FINDING", "MESSAGE"}
	}
	return output.Print(w, format, findings, header, func(f *Finding) []string {
		cells := []string{f.Namespace, f.StatefulSet, output.OrNone(plan.IndexSet(f.Ordinals))}
		if format == "wide" {
			cells = append(cells, output.OrNone(f.Pod), output.OrNone(f.Node))
		}
		return append(cells, string(f.Kind), f.Message)
	})
}
