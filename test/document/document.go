// Package document writes measured tables into the documents of this checkout, and reads what they say.
package document

import (
	"bytes"
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
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	content, err = replace(content, writer, text)
	if err != nil {
		return fmt.Errorf("write table into %s: %w", file, err)
	}
	if err := os.WriteFile(file, content, 0o644); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func replace(document []byte, writer, text string) ([]byte, error) {
	begin, end := Markers(writer)
	before, rest, found := bytes.Cut(document, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		return nil, fmt.Errorf("no markers of %s", writer)
	}
	return bytes.Join([][]byte{before, []byte(begin + "\n" + text + "\n" + end), after}, nil), nil
}
