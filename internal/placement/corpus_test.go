package placement

import (
	"encoding/json"
	"os"
	"testing"
)

// corpusEntry is an annotation that the parser and docs/rules.schema.json both
// check.
type corpusEntry struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Valid bool   `json:"valid"`
	// SchemaCannot says why the schema accepts what the parser refuses.
	SchemaCannot string `json:"schemaCannot"`
}

func readCorpus(t testing.TB) (entries []corpusEntry) {
	t.Helper()
	text, err := os.ReadFile("testdata/corpus.json")
	if err == nil {
		err = json.Unmarshal(text, &entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestParserJudgesTheCorpus(t *testing.T) {
	for _, entry := range readCorpus(t) {
		if _, err := Parse([]byte(entry.Text)); (err == nil) != entry.Valid {
			t.Errorf("%s: got error %v, want valid: %t", entry.Name, err, entry.Valid)
		}
	}
}
