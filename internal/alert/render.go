package alert

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"strings"
	"text/template"
)

// templateFiles hold one file per language. Each defines "title" and "body",
// for both message types.
//
//go:embed zh.tmpl en.tmpl
var templateFiles embed.FS

// Message types and languages.
const (
	typeMarkdown = "markdown"
	typeText     = "text"
	languageZh   = "zh"
	languageEn   = "en"
)

// renderer turns lines into bodies of calls. It is pure: same lines, same bytes.
type renderer struct {
	templates   *template.Template
	messageType string
	cluster     string
	replica     string
	at          at
}

func newRenderer(o Options) (*renderer, error) {
	templates, err := template.ParseFS(templateFiles, o.Language+".tmpl")
	if err != nil {
		return nil, fmt.Errorf("parse alert templates: %w", err)
	}
	return &renderer{
		templates:   templates,
		messageType: o.MessageType,
		cluster:     o.ClusterName,
		replica:     o.Replica,
		at:          at{Mobiles: o.AtMobiles, UserIDs: o.AtUserIDs, All: o.AtAll},
	}, nil
}

// escape is the escaping of the message type.
func (r *renderer) escape(s string) string {
	if r.messageType == typeText {
		return plain(s)
	}
	return escapeMarkdown(s)
}

// render returns the body of one call.
func (r *renderer) render(p page) ([]byte, error) {
	p.Cluster, p.Replica = r.escape(r.cluster), r.escape(r.replica)
	p.Mobiles, p.Markdown = r.at.Mobiles, r.messageType == typeMarkdown
	content, err := r.execute("body", p)
	if err != nil {
		return nil, err
	}
	// The title is no markdown: it stands in the list of chats and in notifications.
	p.Cluster = plain(r.cluster)
	title, err := r.execute("title", p)
	if err != nil {
		return nil, err
	}
	return encode(r.messageType, title, content, r.at)
}

func (r *renderer) execute(name string, p page) (string, error) {
	var out bytes.Buffer
	if err := r.templates.ExecuteTemplate(&out, name, p); err != nil {
		return "", fmt.Errorf("render alert: %w", err)
	}
	return strings.TrimSpace(out.String()), nil
}

// digest is a rendered page and what it tells.
type digest struct {
	body    []byte
	choices []choice
	dropped int // the dropped events that it admits
}

// fit renders as many of the waiting lines, oldest first, as limit bytes hold;
// the message says how many events are not in it. With last set, there will be
// no later message for them.
func (r *renderer) fit(waiting *ledger, limit int, last bool) (digest, error) {
	lines := waiting.byAge()
	total := waiting.events()
	for n := atMost(lines, limit); ; {
		p, choices := compose(lines[:n], r.escape)
		p.Dropped = waiting.dropped
		rest := total - countEvents(choices)
		if last {
			p.LeftOut = rest
		} else {
			p.Follow = rest
		}
		body, err := r.render(p)
		if err != nil {
			return digest{}, err
		}
		if len(body) <= limit || n <= 1 {
			return digest{body: body, choices: choices, dropped: p.Dropped}, nil
		}
		// Lines differ in length: aim a little lower than the average says, and
		// always at least one line lower.
		n = max(1, min(n-1, n*limit/len(body)*19/20))
	}
}

// atMost returns an upper bound of how many leading lines limit bytes can hold,
// so that a long queue is not rendered in full to send its head.
func atMost(lines []*line, limit int) int {
	size := 0
	for i, at := range lines {
		k := at.key
		size += len(k.reason) + len(k.namespace) + len(k.statefulSet) + len(k.key) + len(k.value) + len(at.message)
		if size > limit {
			return i + 1
		}
	}
	return len(lines)
}

// countEvents returns how many events the choices tell.
func countEvents(choices []choice) (n int) {
	for _, c := range choices {
		n += c.events
	}
	return n
}

// byName orders the lines of a section for the reader.
func byName(a, b pageLine) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.StatefulSet, b.StatefulSet),
		cmp.Compare(a.Reason, b.Reason),
	)
}
