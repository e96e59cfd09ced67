package alert

import (
	"strings"
	"time"
)

// phrases are one language: how a native writes what a message says. In the texts a word
// in braces stands for a parameter: see parameters.
type phrases struct {
	reasons map[string]reasonText
	// codes say what is wrong with an annotation: the cause of AnnotationInvalid and
	// AnnotationMalformed.
	codes map[string]string
	// causes of Details.Cause, as they stand for {cause}.
	causes map[string]string

	colon, comma, listComma string
	impact, cause, action   string // labels of paragraphs
	now                     string // label of what holds now
	since                   string // behind what holds, with {time}
	times, repeats, lasted  string // after a line, with {count} or {lasted}
	follow, lost, dropped   string // the last lines, with {count}
	none                    string // for an empty {value}
	unknown                 string // for a {manager} that is not known
	denied, deniedMany      string // titles of refusals, with {set}, {count} and {others}
	deniedImpact            string // what a refusal means
	ahead, behind           string // for {direction} of a clock
	recovered, recoveredAll string
	placed                  string
	test                    string
	testSigned, testPlain   string
	replica                 string
	even, odd, step         string // of a range, with {range} and {step}
	and                     string // between the parts of a duration
	day, hour, minute, sec  string // with {n}
}

// reasonText is what there is to say about one reason.
type reasonText struct {
	title  string // of a message, without the program's name
	line   string // in a list
	cause  string // why; may be empty
	impact string // what it means for pods; may be empty
	action string // what to do; may be empty
	// example is a command or an annotation to copy: never escaped, so it holds no sign
	// of markdown.
	example string
}

// speak fills the parameters into a text.
func expand(text string, parameters ...string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	return strings.NewReplacer(parameters...).Replace(text)
}

// duration writes d as a native says it, by its two largest units.
func (p *phrases) duration(d time.Duration) string {
	d = d.Abs().Round(time.Second)
	units := []struct {
		size time.Duration
		text string
	}{{24 * time.Hour, p.day}, {time.Hour, p.hour}, {time.Minute, p.minute}, {time.Second, p.sec}}
	var parts []string
	for _, u := range units {
		n := d / u.size
		d -= n * u.size
		if n > 0 {
			parts = append(parts, expand(u.text, "{n}", itoa(int(n))))
		} else if len(parts) > 0 {
			break
		}
		if len(parts) == 2 {
			break
		}
	}
	if len(parts) == 0 {
		return expand(p.sec, "{n}", "0")
	}
	return strings.Join(parts, p.and)
}
