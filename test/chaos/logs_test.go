package chaos

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// logLine is one entry of a replica's log.
type logLine struct {
	Level   string `json:"level"`
	Manager string `json:"manager"`
	// at is when the container runtime got it, text the whole line.
	at        time.Time
	pod, text string
}

// logInterval is how often new log files are looked for. The kubelet writes a line sooner than that.
const logInterval = 200 * time.Millisecond

// logs are the log files of our replicas as the kubelets write them. They stay open,
// so that nothing is lost when a pod and its files are deleted.
type logs struct {
	pattern string
	// mu guards files, by their names.
	mu    sync.Mutex
	files map[string]*os.File
}

// readLogs finds the logs of all pods of the target until the suite ends.
func readLogs(t *target) *logs {
	// Every kubelet has its podLogsDir (test/cluster/config) beside the directory of the daemons' logs.
	nodes := filepath.Join(filepath.Dir(filepath.Dir(t.Cluster.LogPath(cluster.Etcd))), "node-*", "pods")
	l := &logs{pattern: filepath.Join(nodes, t.namespace+"_"+t.deployment+"-*", "*", "*.log"), files: map[string]*os.File{}}
	go wait.UntilWithContext(t.Ctx, func(context.Context) { l.open() }, logInterval)
	return l
}

func (l *logs) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	names, _ := filepath.Glob(l.pattern) // fails only for a malformed pattern
	for _, name := range names {
		if l.files[name] != nil {
			continue
		}
		if f, err := os.Open(name); err == nil { // else it has just been deleted
			l.files[name] = f
		}
	}
}

// since are the lines from begin on that are wanted, in their order.
func (l *logs) since(begin time.Time, wanted func(logLine) bool) []logLine {
	l.open()
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []logLine
	for name, f := range l.files {
		text, _ := io.ReadAll(io.NewSectionReader(f, 0, math.MaxInt64)) // what cannot be read has no lines
		for each := range strings.Lines(string(text)) {
			if !strings.HasSuffix(each, "\n") {
				break // it is being written
			}
			if line := parseLine(name, each); !line.at.Before(begin) && wanted(line) {
				found = append(found, line)
			}
		}
	}
	slices.SortFunc(found, func(a, b logLine) int { return a.at.Compare(b.at) })
	return found
}

// with are the lines from begin on that hold the text.
func (l *logs) with(begin time.Time, text string) []logLine {
	return l.since(begin, func(line logLine) bool { return strings.Contains(line.text, text) })
}

// parseLine takes a line in the format of the container runtime interface: time,
// stream, tag, text. A text that is no line of ours, such as a panic, is an error.
func parseLine(file, text string) logLine {
	line := logLine{Level: "ERROR", text: strings.TrimSpace(text)}
	parts := append(strings.SplitN(text, " ", 4), "", "", "")
	line.at, _ = time.Parse(time.RFC3339Nano, parts[0])
	_ = json.Unmarshal([]byte(parts[3]), &line)
	line.pod = strings.Split(filepath.Base(filepath.Dir(filepath.Dir(file))), "_")[1] // namespace_pod_uid/container/file
	return line
}

func holdsAny(text string, parts []string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) })
}

func TestLogs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "custom-system_sts-webhook-6d9-x_uid", "sts-webhook")
	kit.Must(t, os.MkdirAll(dir, 0o755))
	name := filepath.Join(dir, "0.log")
	kit.Must(t, os.WriteFile(name, []byte(`2026-01-01T00:00:00Z stderr F {"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"starting"}
2026-01-01T00:00:01Z stderr F {"time":"2026-01-01T00:00:01Z","level":"ERROR","msg":"cannot","manager":"chaos"}
2026-01-01T00:00:02Z stderr F panic: oh
2026-01-01T00:00:02Z stderr F {"time":"2026-0`), 0o644))
	l := &logs{pattern: name, files: map[string]*os.File{}}
	l.open()
	kit.Must(t, os.Remove(name))
	errors := l.since(time.Time{}, func(line logLine) bool { return line.Level == "ERROR" })
	conflict := len(errors) > 0 && errors[0].Manager == "chaos" && errors[0].pod == "sts-webhook-6d9-x"
	if len(errors) != 2 || !conflict || !strings.Contains(errors[1].text, "panic: oh") {
		t.Errorf("errors: got %+v, want the conflict and the panic", errors)
	}
	if later := l.with(time.Date(2026, 1, 1, 0, 0, 2, 0, time.UTC), ""); len(later) != 1 {
		t.Errorf("after two seconds: got %+v, want the panic", later)
	}
}
