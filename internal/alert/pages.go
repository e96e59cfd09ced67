package alert

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// maxOwnBatchLines is how many changes one message about the webhook itself has beside
// impact, cause, advice and the state of now.
const maxOwnBatchLines = 8

// ownPage says what became of the webhook itself: by its title the worst that holds now,
// below what happened in order.
func (r *renderer) ownPage(b *batch, now time.Time) page {
	worst, reason := worstOf(b.entries)
	text := r.text(reason, worst.key.details)
	p := page{severity: severities[reason], calls: severities[reason] >= warning}
	p.title = r.fill(text.title, worst) + r.lasted(worst, reason)
	if worst.key.reason == reason {
		if len(b.entries) == 1 {
			p.title += r.times(worst)
		}
		p.paragraph(r.phrases.impact, r.fill(text.impact, worst))
		p.paragraph(r.phrases.cause, r.fill(text.cause, worst))
		p.paragraph(r.phrases.action, r.fill(text.action, worst))
		p.paragraph("", text.example)
	}
	var lines []string
	for _, e := range b.entries {
		line := r.fill(r.text(e.key.reason, e.key.details).line, e)
		lines = append(lines, r.clock(e.last, now)+" "+line+r.lasted(e, e.key.reason)+r.times(e))
	}
	if len(lines) > 1 || severities[reason] < resolved || severities[reason] == notice {
		p.list(lines)
	}
	p.paragraph(r.phrases.now, r.states(b.entries, now))
	return p
}

// worstOf returns the entry with the worst reason that holds now, the latest of equals,
// and that reason.
func worstOf(entries []entry) (worst entry, reason string) {
	for i, e := range entries {
		holds := cmp.Or(e.now, e.key.reason)
		if i == 0 || severities[holds] >= severities[reason] {
			worst, reason = e, holds
		}
	}
	return worst, reason
}

// states says what holds now of each state that changed more than once, or has changed
// since.
func (r *renderer) states(entries []entry, now time.Time) string {
	type seen struct {
		times int
		last  entry
	}
	topics, order := map[lineKey]*seen{}, []lineKey(nil)
	for _, e := range entries {
		if e.now == "" {
			continue
		}
		topic := topicOf(e.key)
		if topics[topic] == nil {
			topics[topic] = &seen{}
			order = append(order, topic)
		}
		topics[topic].times++
		topics[topic].last = e
	}
	var said []string
	for _, topic := range order {
		s := topics[topic]
		if s.times == 1 && s.last.now == s.last.key.reason {
			continue
		}
		e := s.last
		if e.now != e.key.reason {
			e.key.details = Details{Object: e.key.details.Object} // those of another reason
		}
		said = append(said, r.fill(r.text(e.now, e.key.details).line, e)+expand(r.phrases.since, "{time}", r.clock(e.nowSince, now)))
	}
	return strings.Join(said, r.phrases.comma)
}

// deniedPage says which pods were refused and what to do, and which StatefulSets
// recovered.
func (r *renderer) deniedPage(b *batch) page {
	worst, refusals := b.entries[0], 0
	for _, e := range b.entries {
		if e.key.reason != Recovered {
			refusals++
		}
	}
	p := page{severity: severityOf(worst.key), calls: refusals > 0}
	title, subjects := r.phrases.recovered, len(b.entries)
	if refusals > 0 {
		title, subjects = r.phrases.denied, refusals
	}
	if many := map[bool]string{true: r.phrases.deniedMany, false: r.phrases.recoveredAll}[refusals > 0]; subjects > 1 {
		title = many
	}
	p.title = expand(title, "{set}", r.subject(worst.key), "{count}", itoa(subjects), "{others}", itoa(subjects-1))
	text := r.text(worst.key.reason, worst.key.details)
	if len(b.entries) == 1 {
		p.title += r.lasted(worst, worst.key.reason) + r.times(worst)
		if refusals == 0 {
			return p
		}
		p.paragraph(r.phrases.impact, r.phrases.deniedImpact)
		p.paragraph(r.phrases.cause, r.cause(worst))
	} else {
		p.list(r.deniedLines(b.entries))
		if refusals == 0 {
			return p
		}
		p.paragraph(r.phrases.impact, r.phrases.deniedImpact)
	}
	p.paragraph(r.phrases.action, r.fill(text.action, worst))
	p.paragraph("", exampleOf(text, worst.key.details))
	return p
}

// exampleOf is the text's example, or one of the form that the user meant.
func exampleOf(text reasonText, d Details) string {
	if of, ok := formExamples[d.Form]; ok && text.example == example {
		return of
	}
	return text.example
}

func (r *renderer) deniedLines(entries []entry) (lines []string) {
	for _, e := range entries {
		line := r.subject(e.key) + r.times(e) + r.phrases.colon + r.cause(e)
		if e.key.reason == Recovered {
			line = expand(r.phrases.recovered, "{set}", r.subject(e.key)) + r.lasted(e, Recovered)
		}
		lines = append(lines, line)
	}
	return lines
}

// cause writes why a pod was refused.
func (r *renderer) cause(e entry) string {
	if text, known := r.phrases.codes[e.key.details.Code]; known {
		return r.fill(text, e)
	}
	return r.fill(r.text(e.key.reason, e.key.details).cause, e)
}

// times says how often a thing happened.
func (r *renderer) times(e entry) (text string) {
	if e.count > 1 {
		text = expand(r.phrases.times, "{count}", itoa(e.count))
	}
	if e.repeats > 0 {
		text += expand(r.phrases.repeats, "{count}", itoa(e.repeats))
	}
	return text
}

// lasted says how long a state was that ended by the entry.
func (r *renderer) lasted(e entry, reason string) string {
	if e.lasted == 0 || reason != e.key.reason {
		return ""
	}
	return expand(r.phrases.lasted, "{lasted}", r.phrases.duration(e.lasted))
}

// maxRuns bounds the ranges of ordinals in one message, at most 45 bytes each; what has
// no room waits for the next one.
const maxRuns = 200

// placedPage says which pods were placed: one line for each StatefulSet and value.
func (r *renderer) placedPage(b *batch) page {
	room, total := maxRuns, 0
	kept := b.entries[:0]
	var lines []string
	for _, e := range b.entries {
		slices.Sort(e.ordinals)
	}
	slices.SortStableFunc(b.entries, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.key.namespace, y.key.namespace), cmp.Compare(x.key.statefulSet, y.key.statefulSet),
			slices.Compare(x.ordinals[:min(1, len(x.ordinals))], y.ordinals[:min(1, len(y.ordinals))]))
	})
	for _, e := range b.entries {
		all := runs(e.ordinals)
		if len(all) > room {
			all = all[:room]
			shown := 0
			for _, run := range all {
				shown += run.length()
			}
			b.follow += len(e.ordinals) - shown
			e.ordinals = e.ordinals[:shown]
		}
		if len(all) == 0 {
			continue
		}
		room -= len(all)
		total += len(e.ordinals)
		lines = append(lines, r.subject(e.key)+" "+r.ordinals(all)+" → "+r.escape(e.key.place.key)+"="+r.escape(e.key.place.value))
		kept = append(kept, e)
	}
	b.entries = kept
	p := page{title: expand(r.phrases.placed, "{count}", itoa(total))}
	p.list(lines)
	return p
}

// ordinals writes ranges.
func (r *renderer) ordinals(all []run) string {
	var parts []string
	for _, run := range all {
		text := itoa(int(run.From))
		if run.Step > 0 {
			text += "–" + itoa(int(run.To))
		}
		switch {
		case run.Step == 2 && run.Even():
			text = expand(r.phrases.even, "{range}", text)
		case run.Step == 2:
			text = expand(r.phrases.odd, "{range}", text)
		case run.Step > 2:
			text = expand(r.phrases.step, "{range}", text, "{step}", itoa(int(run.Step)))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, r.phrases.listComma)
}
