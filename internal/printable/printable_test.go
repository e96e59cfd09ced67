package printable

import (
	"strings"
	"testing"
)

func TestClipKeepsWholeRunes(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aé", 2, "a"}, {"aé", 3, "aé"}, {"a\U0001F600b", 4, "a"},
		{"a\U0001F600b", 5, "a\U0001F600"}, {"\x80\x80\x80", 2, ""},
	} {
		if got := Clip(c.text, c.limit); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func TestQuoteIsBoundedAndPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `""`,
		"a\n\x1b\"":               `"a\n\x1b\""`,
		strings.Repeat("v", 80):   `"` + strings.Repeat("v", 80) + `"`,
		strings.Repeat("v", 9999): `"` + strings.Repeat("v", 80) + `…"`,
	} {
		if got := Quote(text); got != want {
			t.Errorf("Quote(%.90q) = %s, want %s", text, got, want)
		}
	}
}

func TestTextIsLeftAloneUnlessATerminalWouldObeyIt(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		`name=node1, "quoted"`: `name=node1, "quoted"`,
		"é\uFFFD":              "é\uFFFD",
		"a\x1b[2J":             `"a\x1b[2J"`,
		"two\nlines":           `"two\nlines"`,
		"tab\t":                `"tab\t"`,
		"\u202e":               `"\u202e"`,
		"\x80":                 `"\x80"`,
	} {
		if got := Text(text); got != want {
			t.Errorf("Text(%q) = %s, want %s", text, got, want)
		}
	}
}
