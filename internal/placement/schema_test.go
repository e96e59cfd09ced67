package placement

import (
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFile = "../../docs/rules.schema.json"

// The schema is for editors and policy engines. It accepts whatever the parser
// accepts, and refuses what the parser refuses unless it cannot: the corpus says
// why then.
func TestSchemaJudgesTheCorpusAsTheParserDoes(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	schema, err := compiler.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range readCorpus(t) {
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(entry.Text))
		if err != nil {
			t.Errorf("%s: %v", entry.Name, err)
			continue
		}
		want := entry.Valid || entry.SchemaCannot != ""
		if err := schema.Validate(document); (err == nil) != want {
			t.Errorf("%s: got error %v, want it accepted: %t\n%s", entry.Name, err, want, entry.Text)
		}
	}
}

// Every field and bound that the schema spells is the parser's.
func TestSchemaSpellsTheBounds(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"maxItems": 16,`, `"maxItems": 512,`, `"maxProperties": 512,`, `"maximum": 2147483647,`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the schema lacks %s", want)
		}
	}
}
