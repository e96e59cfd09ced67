package main

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// go.mod lists what the webhook and its unit tests need; the suites and the harness below test/ add nothing to it
// (docs/decisions/0006-modules.md).
func TestGoModRequiresNothingForTheSuitesAlone(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	imports := importsOutside(t, "test")
	for _, required := range module.Require {
		if !required.Indirect && !imported(imports, required.Path) {
			t.Errorf("go.mod requires %s directly: got no import of it outside test/, want one, or a module of its own below test/", required.Path)
		}
	}
}

// importsOutside are the imports of all Go files of this module that are not in the directory.
func importsOutside(t *testing.T, directory string) map[string]bool {
	t.Helper()
	imports := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (path == directory || entry.Name() == "testdata" || path == ".git") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}

func imported(imports map[string]bool, module string) bool {
	for name := range imports {
		if name == module || strings.HasPrefix(name, module+"/") {
			return true
		}
	}
	return false
}
