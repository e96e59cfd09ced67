package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/placement"
)

// MaxLine bounds a line that is read, in bytes. An event holds two objects at most, of 3 MiB before they are encoded.
const MaxLine = 32 << 20

// Change is a decision that this version would make otherwise. Its JSON is what users' scripts read: fields may be added, never
// renamed.
type Change struct {
	Namespace string `json:"namespace"`
	// Pod is the pod's name, or its generateName if it was sent without a name.
	Pod string `json:"pod"`
	// Time is when the API server received the request, as it wrote it, and AuditID its name for it.
	Time    string   `json:"time"`
	AuditID string   `json:"auditID"`
	From    Decision `json:"from"`
	To      Decision `json:"to"`
}

// Replayer reads audit logs. New makes one.
type Replayer struct {
	// Counts are the lines that were read, by what they are. Empty lines are not counted.
	Counts map[Class]int
	// Changed is how many of those that are Decided would be decided otherwise.
	Changed int
	// First is where the first line of each class is, as "<name>:<number>".
	First map[Class]string

	handler *mutator.Handler
	maxLine int
	line    []byte
}

// New returns a Replayer that decides as a webhook with these settings does.
func New(s mutator.Settings) *Replayer {
	return &Replayer{
		Counts: map[Class]int{}, First: map[Class]string{},
		handler: mutator.NewHandler(s, nil, io.Discard, logr.Discard(), nil), maxLine: MaxLine,
	}
}

// Read reads a log to its end, and calls changed for every decision that this version would make otherwise. name is for First. It
// holds one line in memory. An error is that of the reader.
func (r *Replayer) Read(name string, log io.Reader, changed func(*Change)) error {
	in := bufio.NewReaderSize(log, 64<<10)
	for number := 1; ; number++ {
		long, err := r.readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if text := bytes.TrimSpace(r.line); len(text) > 0 || long {
			class := TooLong
			var change *Change
			if !long {
				class, change = r.decide(text)
			}
			if r.Counts[class]++; r.Counts[class] == 1 {
				r.First[class] = fmt.Sprintf("%s:%d", name, number)
			}
			if change != nil {
				r.Changed++
				changed(change)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readLine sets r.line to the next line, or to nothing if it is too long.
func (r *Replayer) readLine(in *bufio.Reader) (long bool, err error) {
	r.line = r.line[:0]
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(r.line)+len(part) > r.maxLine; !long {
			r.line = append(r.line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return long, err
		}
	}
}

// Words without which no line is about the creation of a pod.
var podsWord, createWord, webhookWord = []byte(`"pods"`), []byte(`"create"`), []byte(webhook)

// decide says what a line is, and returns a change if the decision in it would be another one.
func (r *Replayer) decide(line []byte) (Class, *Change) {
	if line[0] != '{' || line[len(line)-1] != '}' {
		return NoEvent, nil
	}
	if !bytes.Contains(line, podsWord) || !bytes.Contains(line, createWord) && !bytes.Contains(line, webhookWord) {
		return OtherRequest, nil // which saves the decoding of nearly all lines
	}
	e := readEvent(line)
	if e == nil {
		return NoEvent, nil
	}
	calls, err := e.calls()
	called := slices.ContainsFunc(calls, func(c call) bool { return ours(c.webhook) })
	switch {
	case !e.aboutPods() || !called && err == nil && e.Verb != "create":
		return OtherRequest, nil
	case err != nil:
		return Irreproducible, nil
	case e.failed():
		return CallFailed, nil
	case !called && e.ResponseStatus.Code < http.StatusBadRequest && e.optedIn():
		return OptedInNotCalled, nil
	case !called:
		return NotCalled, nil
	case e.Verb != "create":
		return Applied, nil
	case e.RequestObject == nil && e.Annotations[truncatedKey] != "":
		return Truncated, nil
	case e.RequestObject == nil:
		return NoObject, nil
	}
	change, err := r.compare(e, calls)
	if err != nil {
		return Irreproducible, nil
	}
	return Decided, change
}

// pod is what a table shows of one.
type pod struct {
	Metadata struct {
		Name         string            `json:"name"`
		GenerateName string            `json:"generateName"`
		Labels       map[string]string `json:"labels"`
	} `json:"metadata"`
}

// optedIn reports whether the pod was sent with our label.
func (e *event) optedIn() bool {
	var p pod
	return json.Unmarshal(e.RequestObject, &p) == nil && p.Metadata.Labels[placement.Label] == placement.LabelValue
}

// compare decides again. It returns nil if that changes nothing; an error if the log does not hold what was decided about.
func (r *Replayer) compare(e *event, calls []call) (*Change, error) {
	own := slices.IndexFunc(calls, func(c call) bool { return ours(c.webhook) })
	sent := []byte(e.RequestObject)
	var err error
	for _, c := range calls[:own] {
		if sent, err = patched(sent, c.patch, false); err != nil {
			return nil, err
		}
	}
	from := denied(e.denial())
	if from.Denied == "" {
		after := sent
		for _, c := range calls[own:] {
			if !ours(c.webhook) {
				continue
			}
			if after, err = patched(after, c.patch, true); err != nil {
				return nil, err
			}
		}
		if from, err = decided(after); err != nil {
			return nil, err
		}
	}
	to, err := r.decideAgain(e, sent)
	if err != nil || from.same(to) {
		return nil, err
	}
	var p pod
	if err := json.Unmarshal(sent, &p); err != nil {
		return nil, fmt.Errorf("read pod: %w", err)
	}
	name := p.Metadata.Name
	if name == "" {
		name = p.Metadata.GenerateName
	}
	return &Change{e.ObjectRef.Namespace, name, e.Received, e.AuditID, *from, *to}, nil
}

// decideAgain asks the webhook's handler, as the API server does.
func (r *Replayer) decideAgain(e *event, sent []byte) (*Decision, error) {
	yes := true
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID("replay"), Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: e.ObjectRef.Namespace, Operation: admissionv1.Create, DryRun: &yes, Object: runtime.RawExtension{Raw: sent},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write AdmissionReview: %w", err)
	}
	var answer admissionv1.AdmissionReview
	r.handler.Handle(body, func(status int, text []byte) {
		if status != http.StatusOK {
			err = fmt.Errorf("decide: %s", text)
			return
		}
		err = json.Unmarshal(text, &answer)
	})
	if err != nil {
		return nil, err
	}
	if !answer.Response.Allowed {
		return denied(answer.Response.Result.Message), nil
	}
	after, err := patched(sent, answer.Response.Patch, true)
	if err != nil {
		return nil, err
	}
	return decided(after)
}
