package cluster

import (
	"strings"
	"testing"
)

func TestDirectoryIsOfVersionAndRecipe(t *testing.T) {
	base := release{version: "v1.36.3", sources: "main.go and go.mod"}
	name := base.directory()
	if !strings.HasPrefix(name, "kubernetes-v1.36.3-") {
		t.Errorf("got %s, want the version in it", name)
	}
	for what, other := range map[string]release{
		"another program": {version: "v1.36.3", sources: "another main.go"},
		"another version": {version: "v1.36.4", sources: base.sources},
	} {
		if got := other.directory(); got == name {
			t.Errorf("%s: got the same directory %s, want another", what, got)
		}
	}
}

func TestPinnedRelease(t *testing.T) {
	t.Setenv("K8S", "")
	pinned, err := chooseRelease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("K8S", pinned.version)
	named, err := chooseRelease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if pinned.other || named.other || pinned.directory() != named.directory() {
		t.Errorf("K8S=%s: got %s, want the pinned one, %s", pinned.version, named.directory(), pinned.directory())
	}
}
