package main

import (
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// documents are all Markdown files of the repository, by their path in it.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin"}, file):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		found[filepath.ToSlash(file)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found["README.md"] == "" || found["docs/rules.md"] == "" {
		t.Fatalf("only these documents were found: %v", slices.Sorted(maps.Keys(found)))
	}
	return found
}

func TestTablesRenderAsTables(t *testing.T) {
	tables := 0
	for file, text := range documents(t) {
		n, wrong := checkTables(text)
		tables += n
		for _, w := range wrong {
			t.Errorf("%s:%s", file, w)
		}
	}
	if tables < 20 {
		t.Errorf("only %d tables were found", tables)
	}
}

func TestMistakesInTablesAreFound(t *testing.T) {
	for sentence, c := range map[string]struct {
		text   string
		tables int
		wrong  string
	}{
		"right":                     {"text\n\n| a | b |\n|---|:-:|\n| `1\\|2` |  |\n\ntext", 1, ""},
		"in a fence":                {"```\n| a |\n```\n", 0, ""},
		"a comment ends it":         {"| a |\n|---|\n| b |\n<!-- end -->\n", 1, ""},
		"no blank line before":      {"text\n| a |\n|---|\n| b |\n", 1, "2: no blank line before the table"},
		"no blank line after":       {"| a |\n|---|\n| b |\ntext\n", 1, "4: no blank line after the table"},
		"a pipe within code":        {"| a |\n|---|\n| `b|c` |\n", 1, "3: 2 cells, and 1 in the header"},
		"too few cells":             {"| a | b |\n|---|---|\n| c |\n", 1, "3: 1 cells, and 2 in the header"},
		"too many in the delimiter": {"| a | b |\n|---|---|---|\n| c | d |\n", 1, "2: 3 cells, and 2 in the header"},
		"no delimiter":              {"| a | b |\n| c | d |\n", 0, "1: a row outside a table"},
	} {
		tables, wrong := checkTables(c.text)
		if got := strings.Join(wrong, "; "); tables != c.tables || !strings.Contains(got, c.wrong) || c.wrong == "" && got != "" {
			t.Errorf("%s: got %d tables, %q, want %d, %q", sentence, tables, got, c.tables, c.wrong)
		}
	}
}

var delimiterRow = regexp.MustCompile(`^\|(\s*:?-+:?\s*\|)+\s*$`)

// checkTables counts the tables of a document and returns what GitHub would show otherwise than it is meant. Here a table has a
// pipe at both ends of each row, and blank lines around it.
func checkTables(text string) (tables int, wrong []string) {
	lines := strings.Split(blankFences(text), "\n")
	columns := 0 // of the table that the line is in; 0: none
	for i, line := range lines {
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Sprintf("%d: ", i+1)+fmt.Sprintf(format, args...))
		}
		switch {
		case columns == 0 && strings.HasPrefix(line, "|") && i+1 < len(lines) && delimiterRow.MatchString(lines[i+1]):
			tables, columns = tables+1, cells(line)
			if i > 0 && strings.TrimSpace(lines[i-1]) != "" {
				bad("no blank line before the table")
			}
		case columns == 0 && strings.HasPrefix(line, "|"):
			bad("a row outside a table")
		case columns == 0:
		case strings.HasPrefix(line, "|"):
			if n := cells(line); n != columns {
				bad("%d cells, and %d in the header", n, columns)
			}
		default:
			if columns = 0; strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "<!--") {
				bad("no blank line after the table")
			}
		}
	}
	return tables, wrong
}

// cells counts those of a row. A pipe separates cells within code, too, unless it is escaped.
func cells(row string) int {
	return strings.Count(strings.ReplaceAll(strings.TrimSpace(row), `\|`, ""), "|") - 1
}

// blankFences empties the lines of fenced code, and keeps their number.
func blankFences(text string) string {
	lines, fence := strings.Split(text, "\n"), ""
	for i, line := range lines {
		trimmed := strings.TrimLeft(line, " >")
		switch {
		case fence == "" && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			fence, lines[i] = trimmed[:3], ""
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

var (
	codeSpan   = regexp.MustCompile("`[^`\n]+`")
	inlineLink = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]*)\)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

func TestRelativeLinksLeadSomewhere(t *testing.T) {
	all := documents(t)
	links := 0
	for file, text := range all {
		prose := codeSpan.ReplaceAllString(blankFences(text), "`code`")
		for _, m := range inlineLink.FindAllStringSubmatch(prose, -1) {
			target, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: link %q: %v", file, m[1], err)
				continue
			}
			if target.Scheme != "" {
				continue
			}
			links++
			to := file
			if target.Path != "" {
				to = path.Join(path.Dir(file), target.Path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: link %q: %v", file, m[1], err)
			} else if target.Fragment != "" && !slices.Contains(anchors(all[to]), target.Fragment) {
				t.Errorf("%s: link %q: %s has the anchors %v", file, m[1], to, anchors(all[to]))
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// anchors are what GitHub makes of a document's headings.
func anchors(text string) []string {
	var all []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(blankFences(text), -1) {
		title := linkText.ReplaceAllString(m[1], "$1")
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		seen[slug]++
		if n := seen[slug] - 1; n > 0 {
			slug = fmt.Sprintf("%s-%d", slug, n)
		}
		all = append(all, slug)
	}
	return all
}

func TestAnchors(t *testing.T) {
	text := "# The `bridge`, 1\n\n```\n# no heading\n```\n\n## A [link](x.md) -- b_c\n## Twice\n## Twice\n"
	if got, want := anchors(text), []string{"the-bridge-1", "a-link----b_c", "twice", "twice-1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Code spans and commands that name a file of the repository, or a target of the Makefile.
var (
	ownPath    = regexp.MustCompile(`(?:^|[\s(\x60"])((?:internal|test|docs|manifests|\.ci|\.github)/[\w./-]*\w)`)
	makeTarget = regexp.MustCompile(`(?m)(?:^ {4}|\x60)make ([a-z-]+)`)
)

func TestDocumentsNameFilesAndTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	paths, targets := 0, 0
	for file, text := range documents(t) {
		for _, m := range ownPath.FindAllStringSubmatch(text, -1) {
			paths++
			// docs/ also links to its neighbours.
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s: %v", file, m[1], err)
			}
		}
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			targets++
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which the Makefile does not have", file, m[1])
			}
		}
	}
	if paths < 30 || targets < 10 {
		t.Errorf("only %d paths and %d targets were found", paths, targets)
	}
}

// SECURITY.md has a row for each RBAC rule of the manifests, and no other.
func TestSecurityListsEveryRBACRule(t *testing.T) {
	document := documents(t)["SECURITY.md"]
	rules := 0
	for _, file := range manifests(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "\n---\n") {
			var role rbacv1.ClusterRole // a Role has the same fields
			if err := yaml.Unmarshal([]byte(part), &role); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if role.Kind != "Role" && role.Kind != "ClusterRole" {
				continue
			}
			for _, rule := range role.Rules {
				rules++
				scope, names := "", "all"
				if role.Kind == "Role" {
					scope = " in its namespace"
				}
				if len(rule.ResourceNames) > 0 {
					names = "`" + strings.Join(rule.ResourceNames, "`, `") + "`"
				}
				row := fmt.Sprintf("| `%s` | `%s`%s | %s | %s | ", file, strings.Join(rule.Resources, "`, `"), scope, names, strings.Join(rule.Verbs, ", "))
				if !strings.Contains(document, "\n"+row) {
					t.Errorf("SECURITY.md lacks a row that begins with\n%s", row)
				}
			}
		}
	}
	if n := strings.Count(document, "\n| `manifests/"); n != rules || n == 0 {
		t.Errorf("SECURITY.md has %d rows of rules, and the manifests have %d rules", n, rules)
	}
}

func manifests(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"manifests/*.yaml", "manifests/optional/*/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || found == nil {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	return files
}

// CONTRIBUTING.md says what is in each directory of internal/ and test/, and in each nested module.
func TestContributingNamesEveryPackage(t *testing.T) {
	_, table, _ := strings.Cut(documents(t)["CONTRIBUTING.md"], "| directory | what it is |")
	table, _, _ = strings.Cut(table, "\n\n")
	var dirs []string
	for _, pattern := range []string{"internal/*", "test/*", "*/go.mod", "*/*/go.mod", "*/*/*/go.mod", "*/*/*/*/go.mod"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, found...)
	}
	if len(dirs) < 40 {
		t.Errorf("found only %v", dirs)
	}
	for _, dir := range dirs {
		if dir = strings.TrimSuffix(filepath.ToSlash(dir), "/go.mod"); !strings.Contains(table, "`"+dir+"`") {
			t.Errorf("the table of directories lacks %s", dir)
		}
	}
}

var metricName = regexp.MustCompile(`\bsts_webhook_[a-z_]*[a-z]\b`)

// Every metric of the program is in a document, and the documents name no other.
func TestDocumentsNameTheMetrics(t *testing.T) {
	exist := map[string]bool{}
	err := filepath.WalkDir("internal", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, name := range regexp.MustCompile(`"sts_webhook_[a-z_]+"`).FindAllString(string(text), -1) {
			exist[strings.Trim(name, `"`)] = true
		}
		if strings.Contains(string(text), `versioncollector.NewCollector("sts_webhook")`) {
			exist["sts_webhook_build_info"] = true
		}
		return err
	})
	if err != nil || len(exist) < 20 {
		t.Fatalf("found the metrics %v, %v", exist, err)
	}
	named := map[string]bool{}
	for file, text := range documents(t) {
		for _, name := range metricName.FindAllString(text, -1) {
			named[name] = true
			if !exist[name] && name != "sts_webhook_alert" { // sts_webhook_alert_*
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
	for name := range exist {
		if !named[name] {
			t.Errorf("no document names %s", name)
		}
	}
}
