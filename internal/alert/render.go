package alert

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Message types and languages.
const (
	typeMarkdown = "markdown"
	typeText     = "text"
	languageZh   = "zh"
	languageEn   = "en"
)

// icons stand before the title, so that the list of chats says what matters.
var icons = map[severity]string{critical: "🔴 ", warning: "🟠 ", notice: "🟡 ", resolved: "🟢 "}

// renderer writes batches as bodies of calls. It is pure: same batch and time, same bytes.
type renderer struct {
	phrases     *phrases
	messageType string
	cluster     string
	replica     string
	at          at
	zone        *time.Location
}

// newRenderer takes options that were validated.
func newRenderer(o Options) *renderer {
	zone, err := time.LoadLocation(o.Timezone)
	if err != nil {
		zone = time.UTC
	}
	r := &renderer{
		phrases: &chinese, messageType: o.MessageType, cluster: o.ClusterName, replica: shortReplica(o.Replica), zone: zone,
		at: at{Mobiles: o.AtMobiles, UserIDs: o.AtUserIDs, All: o.AtAll},
	}
	if o.Language == languageEn {
		r.phrases = &english
	}
	return r
}

// shortReplica is the part of a pod's name that differs between replicas.
func shortReplica(pod string) string { return pod[strings.LastIndexByte(pod, '-')+1:] }

// message returns the body of one call. It may take ordinals out of the batch that the
// message has no room for.
func (r *renderer) message(b *batch, now time.Time) ([]byte, error) {
	var p page
	switch b.category {
	case own:
		p = r.ownPage(b, now)
	case denials:
		p = r.deniedPage(b)
	default:
		p = r.placedPage(b)
	}
	for _, remark := range []struct {
		text  string
		count int
	}{{r.phrases.follow, b.follow}, {r.phrases.lost, b.lost}, {r.phrases.dropped, b.dropped}} {
		if remark.count > 0 {
			p.paragraph("", expand(remark.text, "{count}", itoa(remark.count)))
		}
	}
	first, last := b.span()
	p.parts = append(p.parts, part{lines: []string{r.footer(first, last, now)}, quote: true})
	return r.encode(p)
}

// test returns the body of alert-test's message.
func (r *renderer) test(signed bool, now time.Time) ([]byte, error) {
	p := page{title: r.phrases.test}
	p.paragraph("", r.phrases.testPlain)
	if signed {
		p.parts[0].lines[0] = r.phrases.testSigned
	}
	p.parts = append(p.parts, part{lines: []string{r.footer(now, now, now)}, quote: true})
	return r.encode(p)
}

// span returns when the first and the last event of the batch happened.
func (b *batch) span() (first, last time.Time) {
	for _, e := range b.entries {
		if first.IsZero() || e.first.Before(first) {
			first = e.first
		}
		if e.last.After(last) {
			last = e.last
		}
	}
	return first, last
}

// footer is when, and which replica saw it.
func (r *renderer) footer(first, last, now time.Time) string {
	from, to := r.clock(first, now), r.clock(last, now)
	if from != to {
		from += "–" + to
	}
	from += " (" + r.offset(last) + ")"
	if r.replica != "" {
		from += " · " + expand(r.phrases.replica, "{replica}", r.escape(r.replica))
	}
	return from
}

// clock is the local time of t, with the date unless it is today.
func (r *renderer) clock(t, now time.Time) string {
	t, now = t.In(r.zone), now.In(r.zone)
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("01-02 15:04:05")
}

// offset is the zone of t as a distance from UTC.
func (r *renderer) offset(t time.Time) string {
	_, seconds := t.In(r.zone).Zone()
	sign, minutes := "+", seconds/60
	if minutes < 0 {
		sign, minutes = "-", -minutes
	}
	switch {
	case minutes == 0:
		return "UTC"
	case minutes%60 == 0:
		return "UTC" + sign + itoa(minutes/60)
	}
	return "UTC" + sign + itoa(minutes/60) + ":" + strconv.Itoa(100 + minutes%60)[1:]
}

// escape is the escaping of the message type.
func (r *renderer) escape(s string) string {
	limit := len(s)
	if s = plain(s); r.messageType == typeMarkdown {
		s = escapeMarkdown(s)
	}
	return cut(s, max(limit, maxDetailBytes)) // what replaces a sign is longer, and a body is bounded
}

// text returns what there is to say about an entry's reason, of the entry's cause if
// that is special.
func (r *renderer) text(reason string, d Details) reasonText {
	if t, special := r.phrases.reasons[reason+"/"+d.Cause]; special {
		return t
	}
	if t, known := r.phrases.reasons[reason]; known {
		return t
	}
	reason = r.escape(reason)
	return reasonText{title: reason, line: reason + r.phrases.colon + "{text}", cause: "{text}"}
}

// fill puts the entry's parameters into a text.
func (r *renderer) fill(text string, e entry) string {
	d, date := e.key.details, func(t time.Time) string { return t.In(r.zone).Format("2006-01-02 15:04") }
	value := r.escape(short(d.Value))
	cause := r.phrases.causes[d.Cause]
	if cause == "" {
		cause = r.escape(d.Cause)
	}
	manager := r.escape(short(d.Manager))
	if d.Manager == "unknown" {
		manager = r.phrases.unknown
	}
	direction := r.phrases.ahead
	if d.Skew < 0 {
		direction = r.phrases.behind
	}
	return expand(text,
		"{set}", r.subject(e.key), "{field}", r.escape(short(d.Field)), "{value}", cmp.Or(value, r.phrases.none),
		"{object}", r.escape(d.Object), "{manager}", manager, "{cause}", cause, "{repairs}", itoa(d.Count), "{pods}", itoa(d.Count),
		"{ca}", r.escape(d.CA), "{caEnds}", date(d.CAEnds), "{certificateEnds}", date(d.CertificateEnds),
		"{skew}", r.phrases.duration(d.Skew), "{direction}", direction, "{text}", r.escape(d.Text),
	)
}

// short bounds a text that somebody may have written to be read here.
func short(text string) string {
	if s := cut(text, maxValueBytes); len(s) < len(text) {
		return s + "…"
	}
	return text
}

// subject names the StatefulSet, or the namespace alone.
func (r *renderer) subject(k lineKey) string {
	if k.statefulSet == "" {
		return r.escape(k.namespace)
	}
	return r.escape(k.namespace + "/" + k.statefulSet)
}

func itoa(n int) string { return strconv.Itoa(n) }
