package plan

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Manifests is what files hold.
type Manifests struct {
	StatefulSets []appsv1.StatefulSet
	// Others counts the objects of other kinds, by Kind or Kind.group. A
	// StatefulSet of another group is among them.
	Others map[string]int
}

// Read adds the objects of a stream of YAML or JSON documents, as kubectl apply
// takes them: several documents, Lists. namespace is that of StatefulSets which
// name none. An error says which document cannot be read, from 1.
func (m *Manifests) Read(r io.Reader, namespace string) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for n := 1; ; n++ {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			// Strict: a key that occurs twice is a mistake, and one of them would win.
			text, err = yaml.YAMLToJSONStrict(text)
		}
		if err == nil {
			err = m.add(text, namespace)
		}
		if err != nil {
			return fmt.Errorf("read document %d: %w", n, err)
		}
	}
}

// list is a List of any objects, or a list of one kind.
type list struct {
	Items []json.RawMessage `json:"items"`
}

func (m *Manifests) add(object []byte, namespace string) error {
	if string(object) == "null" { // nothing between two separators
		return nil
	}
	var kind metav1.TypeMeta
	if err := json.Unmarshal(object, &kind); err != nil {
		return fmt.Errorf("it is no Kubernetes object: %w", err)
	}
	if kind.Kind == "" || kind.APIVersion == "" {
		return errors.New("it is no Kubernetes object: apiVersion or kind is missing")
	}
	gvk := schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind)
	switch {
	case gvk.Group == appsv1.GroupName && gvk.Kind == "StatefulSet":
		return m.addStatefulSet(object, namespace)
	case gvk.Group == "" && gvk.Kind == "List", gvk.Group == appsv1.GroupName && gvk.Kind == "StatefulSetList":
		return m.addList(object, kind, namespace)
	}
	if m.Others == nil {
		m.Others = map[string]int{}
	}
	m.Others[gvk.GroupKind().String()]++
	return nil
}

func (m *Manifests) addStatefulSet(object []byte, namespace string) error {
	var set appsv1.StatefulSet
	if err := json.Unmarshal(object, &set); err != nil {
		return fmt.Errorf("read StatefulSet: %w", err)
	}
	if set.Namespace == "" {
		set.Namespace = namespace
	}
	m.StatefulSets = append(m.StatefulSets, set)
	return nil
}

func (m *Manifests) addList(object []byte, kind metav1.TypeMeta, namespace string) error {
	var l list
	if err := json.Unmarshal(object, &l); err != nil {
		return fmt.Errorf("read %s: %w", kind.Kind, err)
	}
	for i, item := range l.Items {
		if kind.Kind == "StatefulSetList" { // its items need not repeat their kind
			if err := m.addStatefulSet(item, namespace); err != nil {
				return fmt.Errorf("item %d: %w", i, err)
			}
			continue
		}
		if err := m.add(item, namespace); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}
