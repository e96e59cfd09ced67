// Package candidates reads the facts of the golden review with each JSON library
// that was considered for internal/mutator:
//
//	cd internal/mutator/testdata/candidates && go test -bench .
//
// Compare with BenchmarkDecode and BenchmarkDecodeTyped of internal/mutator,
// on the same machine. Each candidate is used in its fastest form that still
// checks the whole body's syntax, and again without the check where it leaves
// that to its caller.
package candidates

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/buger/jsonparser"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"github.com/valyala/fastjson"
	kjson "sigs.k8s.io/json"
)

type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Request    struct {
		UID      string `json:"uid"`
		Kind     gvk    `json:"kind"`
		Resource struct {
			Group    string `json:"group"`
			Version  string `json:"version"`
			Resource string `json:"resource"`
		} `json:"resource"`
		Namespace string `json:"namespace"`
		Operation string `json:"operation"`
		DryRun    bool   `json:"dryRun"`
		Object    struct {
			Metadata struct {
				Name            string            `json:"name"`
				Labels          map[string]string `json:"labels"`
				Annotations     map[string]string `json:"annotations"`
				OwnerReferences []owner           `json:"ownerReferences"`
			} `json:"metadata"`
			Spec struct {
				NodeSelector map[string]string `json:"nodeSelector"`
			} `json:"spec"`
		} `json:"object"`
	} `json:"request"`
}

type gvk struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

type owner struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller bool   `json:"controller"`
}

// facts are those strings of the review that decide. Reading fewer than the
// real decoder does is to the candidates' advantage.
type facts [8]string

var want = facts{
	"0df28fbd-5f5f-11e8-bc74-36e6bb280816", "shop", "CREATE", "web-13", "true", "13",
	`{"key": "name", "even": "node1", "odd": "node2"}`, "web",
}

func (r *review) facts() facts {
	m := &r.Request.Object.Metadata
	return facts{
		r.Request.UID, r.Request.Namespace, r.Request.Operation, m.Name, m.Labels["ab-build-different"],
		m.Labels["apps.kubernetes.io/pod-index"], m.Annotations["custom-node-selector"], m.OwnerReferences[0].Name,
	}
}

func typed(unmarshal func([]byte, any) error) func([]byte) (facts, error) {
	return func(body []byte) (facts, error) {
		var r review
		err := unmarshal(body, &r)
		return r.facts(), err
	}
}

// paths are the facts' places in the review.
var paths = [len(want)][]string{
	{"request", "uid"}, {"request", "namespace"}, {"request", "operation"}, {"request", "object", "metadata", "name"},
	{"request", "object", "metadata", "labels", "ab-build-different"},
	{"request", "object", "metadata", "labels", "apps.kubernetes.io/pod-index"},
	{"request", "object", "metadata", "annotations", "custom-node-selector"},
	{"request", "object", "metadata", "ownerReferences", "[0]", "name"},
}

var gjsonPaths = []string{
	"request.uid", "request.namespace", "request.operation", "request.object.metadata.name",
	"request.object.metadata.labels.ab-build-different", `request.object.metadata.labels.apps\.kubernetes\.io/pod-index`,
	"request.object.metadata.annotations.custom-node-selector", "request.object.metadata.ownerReferences.0.name",
}

func gjsonUnchecked(body []byte) (f facts, err error) {
	for i, result := range gjson.GetManyBytes(body, gjsonPaths...) {
		f[i] = result.String()
	}
	return f, nil
}

func gjsonChecked(body []byte) (facts, error) {
	if !gjson.ValidBytes(body) {
		return facts{}, fmt.Errorf("invalid")
	}
	return gjsonUnchecked(body)
}

func jsonparserUnchecked(body []byte) (f facts, err error) {
	jsonparser.EachKey(body, func(i int, value []byte, _ jsonparser.ValueType, e error) {
		text, unescapeErr := jsonparser.ParseString(value)
		if e != nil || unescapeErr != nil {
			err = fmt.Errorf("invalid")
		}
		f[i] = text
	}, paths[:]...)
	return f, err
}

func jsonparserChecked(body []byte) (facts, error) {
	if !stdjson.Valid(body) {
		return facts{}, fmt.Errorf("invalid")
	}
	return jsonparserUnchecked(body)
}

var parsers fastjson.ParserPool

func fastjsonTree(body []byte) (f facts, err error) {
	p := parsers.Get()
	defer parsers.Put(p)
	v, err := p.ParseBytes(body)
	if err != nil {
		return f, err
	}
	for i, path := range paths {
		if path[len(path)-2] == "[0]" {
			path = []string{"request", "object", "metadata", "ownerReferences", "0", "name"}
		}
		f[i] = string(v.GetStringBytes(path...))
	}
	return f, nil
}

// tokens walks with jsontext, the new standard library's tokenizer, as the real
// decoder does: it enters the objects on the way and skips the rest.
type tokens struct {
	decoder *jsontext.Decoder
	facts   facts
}

func jsontextWalk(body []byte) (facts, error) {
	t := tokens{decoder: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))}
	err := t.object(func(name string) error {
		if name != "request" {
			return t.decoder.SkipValue()
		}
		return t.object(t.request)
	})
	return t.facts, err
}

func (t *tokens) request(name string) error {
	switch name {
	case "uid":
		return t.text(0)
	case "namespace":
		return t.text(1)
	case "operation":
		return t.text(2)
	case "object":
		return t.object(func(name string) error {
			if name != "metadata" {
				return t.decoder.SkipValue()
			}
			return t.object(t.metadata)
		})
	}
	return t.decoder.SkipValue()
}

func (t *tokens) metadata(name string) error {
	switch name {
	case "name":
		return t.text(3)
	case "labels":
		return t.object(func(name string) error {
			switch name {
			case "ab-build-different":
				return t.text(4)
			case "apps.kubernetes.io/pod-index":
				return t.text(5)
			}
			return t.decoder.SkipValue()
		})
	case "annotations":
		return t.object(func(name string) error {
			if name == "custom-node-selector" {
				return t.text(6)
			}
			return t.decoder.SkipValue()
		})
	case "ownerReferences":
		if _, err := t.decoder.ReadToken(); err != nil {
			return err
		}
		for t.decoder.PeekKind() != ']' {
			err := t.object(func(name string) error {
				if name == "name" {
					return t.text(7)
				}
				return t.decoder.SkipValue()
			})
			if err != nil {
				return err
			}
		}
		_, err := t.decoder.ReadToken()
		return err
	}
	return t.decoder.SkipValue()
}

func (t *tokens) object(member func(name string) error) error {
	if _, err := t.decoder.ReadToken(); err != nil {
		return err
	}
	for t.decoder.PeekKind() != '}' {
		name, err := t.decoder.ReadToken()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err := t.decoder.ReadToken()
	return err
}

func (t *tokens) text(i int) error {
	token, err := t.decoder.ReadToken()
	if err == nil {
		t.facts[i] = token.String()
	}
	return err
}

func BenchmarkCandidates(b *testing.B) {
	body, err := os.ReadFile("../review.json")
	if err != nil {
		b.Fatal(err)
	}
	body = bytes.TrimSpace(body)
	for _, c := range []struct {
		name   string
		decode func([]byte) (facts, error)
	}{
		{"encoding/json, narrow structures", typed(stdjson.Unmarshal)},
		{"sigs.k8s.io/json, narrow structures", typed(kjson.UnmarshalCaseSensitivePreserveInts)},
		{"json/v2, narrow structures", typed(func(data []byte, v any) error { return jsonv2.Unmarshal(data, v) })},
		{"jsontext, tokens", jsontextWalk},
		{"fastjson, tree", fastjsonTree},
		{"gjson, checked", gjsonChecked},
		{"gjson, unchecked", gjsonUnchecked},
		{"jsonparser, checked", jsonparserChecked},
		{"jsonparser, unchecked", jsonparserUnchecked},
	} {
		b.Run(c.name, func(b *testing.B) {
			if got, err := c.decode(body); err != nil || got != want {
				b.Fatalf("got %q, error %v", got, err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = c.decode(body)
			}
		})
	}
}
