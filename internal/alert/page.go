package alert

import (
	"slices"
	"time"
)

// page is one message as the templates see it. Every text in it is escaped
// already, so that a template cannot forget it.
type page struct {
	Cluster  string // empty: left out
	Replica  string // empty: left out
	From, To string // UTC; To is empty when it equals From
	Sections []section
	Dropped  int      // events given up for lack of space since the last message
	Follow   int      // events that wait for the next message
	LeftOut  int      // events that no message will tell, because the process ends
	Mobiles  []string // people to call; the text has to hold them
	Test     bool     // the message of alert-test
	Markdown bool
}

// section is all lines of one kind.
type section struct {
	Kind  Kind
	Count int // events; for Placed: pods
	Lines []pageLine
}

// pageLine is one line of a section.
type pageLine struct {
	Namespace, StatefulSet, Reason, Message string
	Cut                                     int // bytes left out of Message
	Times                                   int // events merged into the line
	Repeats                                 int // events held back since the line was told last
	Key, Value                              string
	Runs                                    []run
}

// choice is what a page tells of one line, to be settled when it was accepted.
type choice struct {
	key      lineKey
	ordinals []int32 // Placed only
	events   int
}

// maxRunsPerLine bounds one line of a page. At most 50 bytes each, they stay
// under a third of a body, so that a single line always fits.
const maxRunsPerLine = 100

// compose lays out lines as a page, at most maxRunsPerLine ranges of each line.
// It returns what the page tells; the rest is left for a later one.
func compose(lines []*line, escape func(string) string) (page, []choice) {
	var p page
	var choices []choice
	sections := map[Kind]*section{}
	var first, last time.Time
	for _, at := range lines {
		shown := pageLine{
			Namespace:   escape(at.key.namespace),
			StatefulSet: escape(at.key.statefulSet),
			Reason:      escape(at.key.reason),
			Message:     escape(at.message),
			Cut:         at.cut,
			Times:       at.count,
			Repeats:     at.repeats,
			Key:         escape(at.key.key),
			Value:       escape(at.key.value),
		}
		chosen := choice{key: at.key, events: at.events()}
		if at.key.kind == Placed {
			shown.Runs, chosen.ordinals = firstRuns(sorted(at.ordinals))
			chosen.events = len(chosen.ordinals)
		}
		s := sections[at.key.kind]
		if s == nil {
			s = &section{Kind: at.key.kind}
			sections[at.key.kind] = s
		}
		s.Lines = append(s.Lines, shown)
		s.Count += chosen.events
		choices = append(choices, chosen)
		if first.IsZero() || at.first.Before(first) {
			first = at.first
		}
		if at.last.After(last) {
			last = at.last
		}
	}
	for _, kind := range Kinds {
		if s := sections[kind]; s != nil {
			slices.SortStableFunc(s.Lines, byName)
			p.Sections = append(p.Sections, *s)
		}
	}
	p.From, p.To = span(first, last)
	return p, choices
}

// firstRuns returns the first maxRunsPerLine ranges and the ordinals they hold.
func firstRuns(ordinals []int32) ([]run, []int32) {
	all := runs(ordinals)
	if len(all) <= maxRunsPerLine {
		return all, ordinals
	}
	held := 0
	for _, r := range all[:maxRunsPerLine] {
		held += r.length()
	}
	return all[:maxRunsPerLine], ordinals[:held]
}

// span formats the time from the first to the last event.
func span(first, last time.Time) (from, to string) {
	from, to = first.UTC().Format(time.DateTime), last.UTC().Format(time.DateTime)
	if from == to {
		return from, ""
	}
	if from[:len(time.DateOnly)] == to[:len(time.DateOnly)] {
		return from, last.UTC().Format(time.TimeOnly)
	}
	return from, to
}
