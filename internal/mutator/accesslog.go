package mutator

import (
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"
)

// loggerName is the value of the key "logger" in every line.
const loggerName = "admission"

var accessMessage = [...]string{ignored: "request ignored", unchanged: "pod unchanged", placed: "pod placed", denied: "pod denied"}

// accessLog writes the lines that slog's JSON handler would write behind logr, for a tenth of its cost: there is one for
// every pod.
type accessLog struct{ out io.Writer }

// accessEntry is what all lines have.
type accessEntry struct {
	message, uid, namespace, statefulSet, pod string
	// verbose: the line is logged at V(1).
	verbose, dryRun bool
	took            time.Duration
}

// accessLines holds *[]byte.
var accessLines sync.Pool

func (a accessLog) write(e *accessEntry, d *decision, now time.Time) {
	line, ok := accessLines.Get().(*[]byte)
	if !ok {
		line = new([]byte)
	}
	*line = appendAccess((*line)[:0], e, d, now)
	_, _ = a.out.Write(*line) // a log that cannot be written has nowhere to say so
	accessLines.Put(line)
}

func appendAccess(b []byte, e *accessEntry, d *decision, now time.Time) []byte {
	b = append(b, `{"time":"`...)
	b = now.AppendFormat(b, time.RFC3339Nano)
	if e.verbose {
		b = append(b, `","level":"DEBUG+3`...) // slog's name of V(1)
	} else {
		b = append(b, `","level":"INFO`...)
	}
	b = append(b, `","msg":"`...)
	b = append(b, e.message...)
	b = append(b, `","logger":"`+loggerName+`"`...)
	b = appendField(b, "uid", e.uid)
	b = appendField(b, "namespace", e.namespace)
	if d.outcome != ignored {
		b = appendField(b, "statefulSet", e.statefulSet)
	}
	b = appendField(b, "pod", e.pod)
	switch d.outcome {
	case unchanged, placed:
		b = append(b, `,"ordinal":`...)
		b = strconv.AppendInt(b, int64(d.ordinal), 10)
		b = appendField(b, "key", d.key)
		b = appendField(b, "value", d.value)
	case denied:
		b = appendField(b, "reason", d.denial.reason)
		b = appendField(b, "message", d.denial.message)
	}
	b = append(b, `,"dryRun":`...)
	b = strconv.AppendBool(b, e.dryRun)
	b = append(b, `,"durationSeconds":`...)
	b = strconv.AppendFloat(b, e.took.Seconds(), 'f', -1, 64)
	return append(b, "}\n"...)
}

// appendField appends one more member. Names that hold quotes or worse are rare; encoding/json takes its time for them.
func appendField(b []byte, key, value string) []byte {
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(value) // a string cannot fail
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, value...)
	return append(b, '"')
}
