package e2e

import (
	"encoding/json"
	"io"
	"os"
	"testing"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// testAudit reads in the apiserver's audit log how the pods of the chapters before were placed, and why some were not.
func (s *suite) testAudit(t *testing.T) {
	file, err := os.Open(s.Cluster.LogPath(cluster.Audit))
	kit.Must(t, err)
	defer file.Close()
	const prefix = serviceName + "/"
	seen := map[string]int{}
	for lines := json.NewDecoder(file); ; {
		var event struct {
			Verb        string
			ObjectRef   struct{ Resource, Name string }
			Annotations map[string]string
		}
		if err := lines.Decode(&event); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		a := event.Annotations
		if placed := a[prefix+"placement"]; placed != "" {
			seen[a[prefix+"rule"]+" "+a[prefix+"ordinal"]+" "+placed]++
		}
		if reason := a[prefix+"denied"]; reason != "" {
			seen["denied "+reason]++
		}
	}
	for _, want := range []string{
		"even/odd 0 name=node1", "even/odd 1 name=node2", "even/odd 5 name=node2", "values 7 zone=b", "ordinals 0 zone=c", "value 2 host=deb-3",
		"values,ordinals 2 room=east,gen=g2", "denied AnnotationInvalid", "denied AnnotationMissing", "denied AnnotationMalformed",
	} {
		if seen[want] == 0 {
			t.Errorf("the audit log does not tell %q; it tells %v", want, seen)
		}
	}
}
