package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	const file = "../../docs/rules.md"
	current, err := os.ReadFile(file)
	kit.Must(t, err)
	renewed := filepath.Join(t.TempDir(), "rules.md")
	kit.Must(t, os.WriteFile(renewed, current, 0o600))
	kit.Must(t, document.Replace(renewed, "test/e2e", "```\n"+strings.Join(parts, "\n\n")+"\n```\n"))
	want, err := os.ReadFile(renewed)
	kit.Must(t, err)
	compareGolden(t, file, string(want))
}
