package output

import (
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	type row struct {
		Name string `json:"name"`
	}
	cells := func(r *row) []string {
		if r.Name == "left out" {
			return nil
		}
		return []string{r.Name, OrNone("")}
	}
	for sentence, c := range map[string]struct {
		format string
		items  []row
		want   string
	}{
		"a table has a header":                        {"table", []row{{"a"}, {"left out"}}, "NAME   X\na      <none>\n"},
		"no items have none":                          {"table", []row{{"left out"}}, ""},
		"what a terminal obeys is escaped in a table": {"wide", []row{{"\x1b[2J\n"}}, `NAME          X` + "\n" + `"\x1b[2J\n"   <none>` + "\n"},
		"json holds every item":                       {"json", []row{{"left out"}}, "[\n    {\n        \"name\": \"left out\"\n    }\n]\n"},
		"json without items is an empty array":        {"json", []row{}, "[]\n"},
		"yaml holds every item":                       {"yaml", []row{{"left out"}}, "- name: left out\n"},
	} {
		var out strings.Builder
		if err := Print(&out, c.format, c.items, []string{"NAME", "X"}, cells); err != nil || out.String() != c.want {
			t.Errorf("%s: got %q, error %v, want %q", sentence, out.String(), err, c.want)
		}
	}
}
