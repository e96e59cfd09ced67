package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sts-mutating-webhook/test/document"
	"sts-mutating-webhook/test/kit"
)

// shown are the sections of kubectl.golden that docs/rules.md repeats.
var shown = []string{"a mistake in an update is refused", "ordinals that move are named", "no node carries the label", "a volume is bound elsewhere"}

// The document shows what kubectl printed on a real cluster. Run with -update to write it.
func TestDocumentShowsWhatKubectlPrints(t *testing.T) {
	golden, err := os.ReadFile("testdata/kubectl.golden")
	kit.Must(t, err)
	sections := map[string]string{}
	for _, section := range strings.Split(strings.TrimPrefix(string(golden), "# "), "\n# ") {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = strings.TrimSpace(text)
	}
	var parts []string
	for _, title := range shown {
		if sections[title] == "" {
			t.Fatalf("kubectl.golden has no section %q", title)
		}
		parts = append(parts, sections[title])
	}
	text := "```\n" + strings.Join(parts, "\n\n") + "\n```\n"
	const file = "../../docs/rules.md"
	if *update {
		kit.Must(t, document.Replace(file, writer, text))
	}
	content, err := os.ReadFile(file)
	kit.Must(t, err)
	begin, end := document.Markers(writer)
	_, got, _ := strings.Cut(string(content), begin+"\n")
	got, _, _ = strings.Cut(got, "\n"+end)
	if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}
