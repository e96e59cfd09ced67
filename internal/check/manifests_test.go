package check

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// manifest is what the tests look at in a document of manifests/.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct{ Namespace, Name string }
	Rules      []rbacv1.PolicyRule `json:"rules"`
	file       string
}

func readManifests(t *testing.T, pattern string) (all []manifest) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../manifests", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			var m manifest
			if err = errors.Join(err, yaml.Unmarshal(document, &m)); err != nil {
				t.Fatal(err)
			}
			m.file = strings.TrimPrefix(filepath.ToSlash(file), "../../manifests/")
			all = append(all, m)
		}
	}
	return all
}

func TestObjectsAreThoseOfTheManifests(t *testing.T) {
	for pattern, got := range map[string][]Object{"*.yaml": installed, "optional/gate/*.yaml": gateObjects} {
		var want []Object
		for _, m := range readManifests(t, pattern) {
			version, err := schema.ParseGroupVersion(m.APIVersion)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, object(m.file, version.Group, version.Version, m.Kind, m.Metadata.Namespace, m.Metadata.Name))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("objects of manifests/%s differ (-want +got):\n%s", pattern, diff)
		}
	}
}

func TestRightsAreThoseOfTheManifests(t *testing.T) {
	var want []Right
	for _, m := range slices.Concat(readManifests(t, "*.yaml"), readManifests(t, "optional/*/*.yaml")) {
		for _, rule := range m.Rules {
			names := rule.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						want = append(want, rights(m.file, group, resource, m.Metadata.Namespace, name, rule.Verbs...)...)
					}
				}
			}
		}
	}
	if diff := cmp.Diff(want, granted); diff != "" {
		t.Errorf("rights differ (-want +got):\n%s", diff)
	}
}
