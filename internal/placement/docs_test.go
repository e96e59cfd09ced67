package placement

import (
	"fmt"
	"strconv"
	"testing"

	"sts-mutating-webhook/test/document"
)

// The bounds in docs/rules.md are those of the code.
func TestDocumentNamesTheBounds(t *testing.T) {
	const maxLabelValue = 63
	missing, err := document.Missing("../../docs/rules.md",
		"the label `"+Label+": \""+LabelValue+"\"`",
		"the annotation `"+Annotation+"`",
		fmt.Sprintf("An annotation has at most %d rules, and %d KiB", MaxRules, MaxBytes>>10),
		fmt.Sprintf("at most %d values, or numbers and ranges", MaxValues),
		fmt.Sprintf("Ordinals, and ordinals plus `start`, are at most %d.", MaxOrdinal),
		fmt.Sprintf("may have %d bytes", maxLabelValue-len(strconv.Itoa(MaxOrdinal))),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Errorf("docs/rules.md does not say: %s", m)
	}
}
