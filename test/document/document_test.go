package document

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	begin, end := Markers("test/x")
	file := filepath.Join(t.TempDir(), "d.md")
	if err := os.WriteFile(file, []byte("above\n"+begin+"old\n"+end+"below\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the markers are still there
		if err := Replace(file, "test/x", "new"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if want := "above\n" + begin + "\nnew\n" + end + "below\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if err := Replace(file, "test/y", "new"); err == nil {
		t.Error("the markers of another writer: want an error")
	}
	if err := Replace(file+"x", "test/x", "new"); err == nil {
		t.Error("a file that does not exist: want an error")
	}
}

func TestMissing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.md")
	if err := os.WriteFile(file, []byte("- it waits\n  5 s\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Missing(file, "it waits 5 s", "it waits 6 s")
	if err != nil || len(got) != 1 || got[0] != "it waits 6 s" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Missing(file + "x"); err == nil {
		t.Error("a file that does not exist: want an error")
	}
}
