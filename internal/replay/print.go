package replay

import (
	"io"

	"sts-mutating-webhook/internal/output"
)

// Print writes changes in one of output.Formats. A wide table also says when they were, and the texts of denials.
func Print(w io.Writer, format string, changes []Change) error {
	header := []string{"NAMESPACE", "POD", "FROM", "TO"}
	if format == "wide" {
		header = append(header, "TIME", "AUDIT ID", "DENIAL")
	}
	return output.Print(w, format, changes, header, func(c *Change) []string {
		cells := []string{c.Namespace, c.Pod, c.From.String(), c.To.String()}
		if format == "wide" {
			cells = append(cells, output.OrNone(c.Time), output.OrNone(c.AuditID), output.OrNone(c.From.Denied+c.To.Denied))
		}
		return cells
	})
}
