package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// auditEvent is a request in the apiserver's audit log.
type auditEvent struct {
	line             []byte
	User             struct{ Username string }
	Verb, RequestURI string
	AuditID          string
	ObjectRef        struct{ Resource, Namespace, Name string }
	RequestObject    json.RawMessage
	ResponseStatus   struct {
		Code    int
		Message string
	}
	Annotations map[string]string
}

// auditLog reads what the apiserver has logged so far. The last line may not be complete.
func (s *suite) auditLog(t *testing.T) (events []auditEvent) {
	t.Helper()
	content, err := os.ReadFile(s.Cluster.LogPath(cluster.Audit))
	kit.Must(t, err)
	for line := range bytes.Lines(content) {
		if bytes.HasSuffix(line, []byte("\n")) {
			event := auditEvent{line: line}
			kit.Must(t, json.Unmarshal(line, &event))
			events = append(events, event)
		}
	}
	return events
}

// testAudit reads in the apiserver's audit log how the pods of the chapters before were placed, and why some were not.
func (s *suite) testAudit(t *testing.T) {
	const prefix = serviceName + "/"
	seen := map[string]int{}
	for _, event := range s.auditLog(t) {
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
			t.Errorf("the audit log does not hold %q; it holds %v", want, seen)
		}
	}
}
