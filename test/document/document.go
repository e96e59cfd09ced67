// Package document writes measured tables into the documents of this checkout, and reads what they say.
package document

import (
	"fmt"
	"os"
	"strings"
)

// Missing returns those of the sentences that the document does not hold. Line breaks do not matter.
func Missing(file string, sentences ...string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	text, missing := strings.Join(strings.Fields(string(content)), " "), []string(nil)
	for _, s := range sentences {
		if !strings.Contains(text, s) {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

// Markers enclose the part of a document that the program in a directory writes.
func Markers(writer string) (begin, end string) {
	return "<!-- written by " + writer + ": begin -->\n", "<!-- written by " + writer + ": end -->\n"
}

// Replace puts text between the writer's markers in the file, which must hold them.
func Replace(file, writer, text string) error {
	return Update(file, writer, func(string) string { return text })
}

// Update is Replace with a text that is made of the present one.
func Update(file, writer string, change func(old string) string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	begin, end := Markers(writer)
	before, rest, found := strings.Cut(string(content), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("write table into %s: no markers of %s", file, writer)
	}
	if err := os.WriteFile(file, []byte(before+begin+"\n"+change(old)+"\n"+end+after), 0o644); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
