package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The documents show what the suites measured: the plots are those of the data beside them.
func TestPlotsAreDrawnFromTheData(t *testing.T) {
	for _, f := range figures() {
		want, err := draw(f, "../../docs/data/"+f.name+".csv")
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		got, err := os.ReadFile("../../docs/plots/" + f.name + ".svg")
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/plots/%s.svg is not what docs/data/%[1]s.csv gives (%v): run make plots", f.name, err)
		}
	}
}

func TestEveryLineIsInTheLegend(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data.csv")
	data := "# how it was measured\nway,percentile,ms\nfloor,0,1\nfloor,99,2\nours,0,1.5\nours,99,3\n"
	if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	svg, err := draw(figure{"data", distributions("title", "ms")}, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">title<", ">how it was measured<", ">floor<", ">ours<"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}

func TestDataThatCannotBeDrawnIsAnError(t *testing.T) {
	for sentence, c := range map[string]struct{ data, want string }{
		"no conditions": {"way,percentile,ms\nours,0,1\n", "does not begin with a comment"},
		"no rows":       {"# c\nway,percentile,ms\n", "has no rows"},
		"no column":     {"# c\nway,percentile\nours,0\n", "no column ms"},
		"no number":     {"# c\nway,percentile,ms\nours,0,x\n", `column ms, row 1: strconv.ParseFloat: parsing "x"`},
	} {
		file := filepath.Join(t.TempDir(), "data.csv")
		if err := os.WriteFile(file, []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := draw(figure{"data", distributions("", "")}, file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", sentence, err, c.want)
		}
	}
}
