package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands print into the READMEs instead of comparing")

var readmes = []string{"README.md", "README.zh-CN.md"}

// console are blocks that show a command of this program and what it printed.
var console = regexp.MustCompile("(?s)```console\n\\$ (go run \\. [^\n]*)\n(.*?)```")

// The READMEs show what the commands print. Run with -update to write it.
func TestReadmeShowsWhatTheCommandsPrint(t *testing.T) {
	printed := map[string]string{}
	for _, file := range readmes {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := console.FindAllStringSubmatch(string(text), -1)
		if len(blocks) < 2 {
			t.Errorf("%s shows %d commands, want 2 at least", file, len(blocks))
		}
		renewed := string(text)
		for _, block := range blocks {
			command := block[1]
			if printed[command] == "" {
				printed[command] = runCommand(t, command)
			}
			if block[2] != printed[command] {
				t.Logf("%s, %s: got\n%swant\n%s", file, command, block[2], printed[command])
			}
			renewed = strings.Replace(renewed, block[0], "```console\n$ "+command+"\n"+printed[command]+"```", 1)
		}
		if renewed == string(text) {
			continue
		}
		if !*update {
			t.Errorf("%s does not show what the commands print: run go test . -run Readme -update", file)
		} else if err := os.WriteFile(file, []byte(renewed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runCommand returns what a reader sees, the exit code included: go run prints it.
func runCommand(t *testing.T, command string) string {
	t.Helper()
	args := strings.Fields(command)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out)
}

// A part of a README that a translation must repeat as it is.
type facts struct {
	heading string
	// blocks are code, fenced or indented; tables have a row as its code spans and numbers, cell by cell.
	blocks, tables []string
	// spans are code within a line, links their targets, numbers all others; each sorted, since languages differ in their order.
	spans, links, numbers []string
	prose                 string
}

var (
	headingLine = regexp.MustCompile(`^#+ `)
	numberText  = regexp.MustCompile(`[0-9]+`)
	imageLink   = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	comment     = regexp.MustCompile(`^<!--.*-->$`)
	// languageLine leads from one README to the other.
	languageLine = regexp.MustCompile(`^(English|\[English\])`)
)

// sections returns the facts of a document, one for each heading.
func sections(text string) (all []facts) {
	all = append(all, facts{})
	var fenced []string
	in := false
	for line := range strings.SplitSeq(text, "\n") {
		f := &all[len(all)-1]
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced = append(fenced, line); in {
				f.blocks, fenced = append(f.blocks, strings.Join(fenced, "\n")), nil
			}
			in = !in
		case in:
			fenced = append(fenced, line)
		case headingLine.MatchString(line):
			all = append(all, facts{heading: line})
		case strings.HasPrefix(line, "    "):
			f.blocks = append(f.blocks, line)
		case strings.HasPrefix(line, "|"):
			f.tables = append(f.tables, rowFacts(line))
		case comment.MatchString(line):
			f.blocks = append(f.blocks, line)
		case !languageLine.MatchString(line):
			f.prose += line + " " // code may go on in the next line
		}
	}
	for i := range all {
		all[i].addProse(all[i].prose)
		slices.Sort(all[i].spans)
		slices.Sort(all[i].links)
		slices.Sort(all[i].numbers)
	}
	return all
}

func (f *facts) addProse(line string) {
	f.spans = append(f.spans, codeSpan.FindAllString(line, -1)...)
	line = codeSpan.ReplaceAllString(line, "")
	for _, m := range imageLink.FindAllStringSubmatch(line, -1) {
		f.links = append(f.links, m[1])
	}
	line = imageLink.ReplaceAllString(line, "]")
	f.numbers = append(f.numbers, numberText.FindAllString(line, -1)...)
}

func rowFacts(row string) string {
	var cells []string
	for cell := range strings.SplitSeq(strings.ReplaceAll(row, `\|`, ""), "|") {
		var f facts
		f.addProse(cell)
		cells = append(cells, strings.Join(slices.Concat(f.spans, f.links, f.numbers), " "))
	}
	return strings.Join(cells, "|")
}

// Both READMEs state the same: sections, tables, commands, code, links and figures.
func TestTranslationHasTheSameFacts(t *testing.T) {
	all := documents(t)
	for _, difference := range differences(all["README.md"], all["README.zh-CN.md"]) {
		t.Error(difference)
	}
}

func differences(original, translation string) (all []string) {
	want, got := sections(original), sections(translation)
	if len(got) != len(want) {
		return []string{"the translation has another number of sections"}
	}
	for i := range want {
		for _, c := range []struct {
			what      string
			got, want []string
		}{
			{"code blocks", got[i].blocks, want[i].blocks}, {"tables", got[i].tables, want[i].tables}, {"code spans", got[i].spans, want[i].spans},
			{"links", got[i].links, want[i].links}, {"numbers", got[i].numbers, want[i].numbers},
		} {
			if !slices.Equal(c.got, c.want) {
				all = append(all, "section "+want[i].heading+" / "+got[i].heading+": "+c.what+": got\n"+
					strings.Join(c.got, "\n")+"\nwant\n"+strings.Join(c.want, "\n"))
			}
		}
	}
	return all
}

func TestDifferencesOfATranslationAreFound(t *testing.T) {
	const original = "# A\n\ntext `code` of 10 [b](b.md)\n\n    make b\n\n```\n$ c\n```\n\n| a | b |\n|---|---|\n| `x` 1 | y |\n"
	if got := differences(original, strings.NewReplacer("text", "文", "y", "乙", "# A", "# 甲", "of", "的").Replace(original)); got != nil {
		t.Errorf("a faithful translation: got %q", got)
	}
	for sentence, change := range map[string][2]string{
		"code blocks": {"make b", "make c"}, "tables": {"`x` 1", "`x` 2"}, "code spans": {"`code`", "`other`"},
		"links": {"b.md", "c.md"}, "numbers": {"of 10", "of 11"}, "another number of sections": {"# A\n", "# A\n\n## B\n"},
	} {
		got := differences(original, strings.Replace(original, change[0], change[1], 1))
		if len(got) != 1 || !strings.Contains(got[0], sentence) {
			t.Errorf("%s: got %q", sentence, got)
		}
	}
}

// Each README leads to the other.
func TestReadmesLeadToEachOther(t *testing.T) {
	all := documents(t)
	for file, other := range map[string]string{"README.md": "README.zh-CN.md", "README.zh-CN.md": "README.md"} {
		if !strings.Contains(all[file], "]("+other+")") {
			t.Errorf("%s has no link to %s", file, other)
		}
	}
}
