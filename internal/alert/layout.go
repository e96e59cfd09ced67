package alert

import "strings"

// page is one message before it is laid out for its type.
type page struct {
	severity severity
	title    string
	parts    []part
	calls    bool // it calls people
}

// part is a paragraph, or a list.
type part struct {
	label string // of a paragraph; may be empty
	lines []string
	list  bool
	quote bool
}

func (p *page) paragraph(label, text string) {
	if text != "" {
		p.parts = append(p.parts, part{label: label, lines: []string{text}})
	}
}

func (p *page) list(lines []string) {
	if len(lines) > 0 {
		p.parts = append(p.parts, part{lines: lines, list: true})
	}
}

// encode lays a page out for the message type. DingTalk's markdown breaks a line only at
// a blank one.
func (r *renderer) encode(p page) ([]byte, error) {
	title := icons[p.severity]
	if r.cluster != "" {
		title += "[" + plain(r.cluster) + "] "
	}
	title += "sts-webhook " + p.title
	gap, heading := "\n\n", "### "+icons[p.severity]
	if r.cluster != "" {
		heading += "[" + r.escape(r.cluster) + "] "
	}
	heading += "sts-webhook " + p.title
	if r.messageType == typeText {
		gap, heading = "\n", title
	}
	blocks := []string{heading}
	for _, part := range p.parts {
		blocks = append(blocks, r.layOut(part))
	}
	var call at
	if p.calls {
		call = r.at
		if names := r.names(); names != "" {
			blocks = append(blocks, names)
		}
	}
	return encode(r.messageType, title, strings.Join(blocks, gap), call)
}

func (r *renderer) layOut(p part) string {
	before := ""
	switch {
	case p.list:
		before = "- "
	case p.quote && r.messageType == typeMarkdown:
		before = "> "
	case p.label != "" && r.messageType == typeMarkdown:
		before = "**" + p.label + "**" + r.phrases.colon
	case p.label != "":
		before = p.label + r.phrases.colon
	}
	return before + strings.Join(p.lines, "\n"+before)
}

// names are the people that the message calls. DingTalk calls only who stands in the
// text as well, mobiles and user ids alike.
func (r *renderer) names() string {
	var names []string
	for _, name := range append(append([]string(nil), r.at.Mobiles...), r.at.UserIDs...) {
		names = append(names, "@"+name)
	}
	return strings.Join(names, " ")
}
