package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestManifestsAreRead(t *testing.T) {
	const set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\n"
	for sentence, c := range map[string]struct {
		text   string
		sets   []string // namespace/name
		others map[string]int
	}{
		"nothing":                       {``, nil, nil},
		"only separators and comments":  {"---\n# nothing\n---\n\n---\n", nil, nil},
		"one document":                  {set, []string{"default/web"}, nil},
		"several documents":             {"---\n" + set + "---\n" + set + "---\n", []string{"default/web", "default/web"}, nil},
		"a namespace of its own":        {strings.Replace(set, "web", "web, namespace: shop", 1), []string{"shop/web"}, nil},
		"Windows line ends":             {strings.ReplaceAll(set+"---\n"+set, "\n", "\r\n"), []string{"default/web", "default/web"}, nil},
		"JSON":                          {`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"web"}}`, []string{"default/web"}, nil},
		"a later version of apps":       {strings.Replace(set, "v1", "v2", 1), []string{"default/web"}, nil},
		"a StatefulSet of another kind": {strings.Replace(set, "apps/v1", "apps.kruise.io/v1beta1", 1), nil, map[string]int{"StatefulSet.apps.kruise.io": 1}},
		"other kinds are counted": {"apiVersion: v1\nkind: Service\n---\napiVersion: v1\nkind: Service\n---\napiVersion: apps/v1\nkind: Deployment\n---\n" + set,
			[]string{"default/web"}, map[string]int{"Service": 2, "Deployment.apps": 1}},
		"a List":            {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod}\n", []string{"default/a"}, map[string]int{"Pod": 1}},
		"a StatefulSetList": {"apiVersion: apps/v1\nkind: StatefulSetList\nitems:\n- {metadata: {name: a}}\n", []string{"default/a"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			var m Manifests
			if err := m.Read(strings.NewReader(c.text), "default"); err != nil {
				t.Fatal(err)
			}
			var sets []string
			for _, s := range m.StatefulSets {
				sets = append(sets, s.Namespace+"/"+s.Name)
			}
			if diff := cmp.Diff(c.sets, sets); diff != "" {
				t.Errorf("StatefulSets differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.others, m.Others); diff != "" {
				t.Errorf("others differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnreadableDocumentIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Pod\n---\n{{ template }}\n": `read document 2: `,
		"hello\n":                                `read document 1: it is no Kubernetes object: `,
		"kind: Pod\n":                            `read document 1: it is no Kubernetes object: apiVersion or kind is missing`,
		"apiVersion: v1\nkind: Pod\nkind: Pod\n": `read document 1: `,
		"apiVersion: apps/v1\nkind: StatefulSet\nspec: {replicas: many}\n":                     `read document 1: read StatefulSet: `,
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, {}]\n":               `read document 1: item 1: it is no Kubernetes object: `,
		"apiVersion: v1\nkind: List\nitems: 7\n":                                               `read document 1: read List: `,
		"apiVersion: apps/v1\nkind: StatefulSetList\nitems: [{spec: {replicas: many}}]\n":      `read document 1: item 0: read StatefulSet: `,
		"---\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {labels: {a: b, a: c}}\n": `read document `,
	} {
		var m Manifests
		if err := m.Read(strings.NewReader(text), "default"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got error %v, want %s...", text, err, want)
		}
	}
}
