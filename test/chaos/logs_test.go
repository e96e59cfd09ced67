package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
)

// logLine is one entry of a replica's log.
type logLine struct {
	At      time.Time `json:"time"`
	Level   string    `json:"level"`
	Msg     string    `json:"msg"`
	Manager string    `json:"manager"`
	pod     string
	// text is the whole line.
	text string
}

// logInterval is how often the logs are read.
const logInterval = 200 * time.Millisecond

// logs reads the log files of our replicas as the kubelets write them. They are
// open, so that nothing is lost when a pod and its files are deleted.
type logs struct {
	pattern string
	open    map[string]*bufio.Reader
	partial map[string]string

	// mu guards lines.
	mu    sync.Mutex
	lines []logLine
}

// readLogs follows the logs of all pods of the target until ctx ends.
func readLogs(ctx context.Context, t *target) *logs {
	l := &logs{
		pattern: filepath.Join(podLogs(t.cluster), t.namespace+"_"+t.deployment+"-*", "*", "*.log"),
		open:    map[string]*bufio.Reader{}, partial: map[string]string{},
	}
	go func() {
		tick := time.NewTicker(logInterval)
		defer tick.Stop()
		for ctx.Err() == nil {
			l.read()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return l
}

// podLogs is a pattern for the podLogsDir of each kubelet (test/cluster/config).
func podLogs(c *cluster.Cluster) string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.LogPath(cluster.Etcd))), "node-*", "pods")
}

func (l *logs) read() {
	files, _ := filepath.Glob(l.pattern) // fails only for a malformed pattern
	for _, name := range files {
		if l.open[name] != nil {
			continue
		}
		if f, err := os.Open(name); err == nil { // else it has just been deleted
			l.open[name] = bufio.NewReader(f)
		}
	}
	for name, r := range l.open {
		for {
			text, err := r.ReadString('\n')
			if err == io.EOF {
				l.partial[name] += text
				break
			}
			if err != nil {
				break
			}
			l.parse(name, l.partial[name]+text)
			l.partial[name] = ""
		}
	}
}

// parse takes one line in the format of the container runtime interface: time,
// stream, tag, text.
func (l *logs) parse(file, text string) {
	parts := strings.SplitN(text, " ", 4)
	var line logLine
	if len(parts) < 4 || json.Unmarshal([]byte(parts[3]), &line) != nil {
		line = logLine{At: time.Now(), Level: "ERROR", Msg: "not a log line"}
	}
	line.text = strings.TrimSpace(text)
	line.pod, _, _ = strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(filepath.Dir(file))), "custom-system_"), "_")
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.mu.Unlock()
}

// errors are the lines of level ERROR from begin on that hold none of the texts.
func (l *logs) errors(begin time.Time, expected []string) []logLine {
	return l.find(func(line logLine) bool {
		return line.Level == "ERROR" && !line.At.Before(begin) && !holdsAny(line.text, expected)
	})
}

// with are the lines from begin on that hold the text.
func (l *logs) with(begin time.Time, text string) []logLine {
	return l.find(func(line logLine) bool { return !line.At.Before(begin) && strings.Contains(line.text, text) })
}

func (l *logs) find(wanted func(logLine) bool) []logLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []logLine
	for _, line := range l.lines {
		if wanted(line) {
			found = append(found, line)
		}
	}
	return found
}

func holdsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

func TestLogs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "custom-system_sts-webhook-6d9-x_uid", "sts-webhook")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "0.log")
	write := func(text string) {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	l := &logs{pattern: name, open: map[string]*bufio.Reader{}, partial: map[string]string{}}
	write(`2026-01-01T00:00:00Z stderr F {"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"starting"}` + "\n" + `2026-01-01T00:00:01Z stderr F {"time":"2026-01-01T00:0`)
	l.read()
	write(`0:01Z","level":"ERROR","msg":"cannot","err":"the object has been modified","manager":"chaos"}` + "\n" + "2026-01-01T00:00:02Z stderr F panic: oh\n")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	l.read()
	if got := l.errors(time.Time{}, nil); len(got) != 2 || got[0].Manager != "chaos" || got[0].pod != "sts-webhook-6d9-x" || !strings.Contains(got[1].text, "panic: oh") {
		t.Errorf("got %+v, want the conflict and the panic", got)
	}
	if got := l.errors(time.Time{}, []string{"has been modified"}); len(got) != 1 {
		t.Errorf("with the conflict expected: got %+v, want the panic", got)
	}
	if started, stopped := l.with(time.Time{}, "starting"), l.with(time.Time{}, "stopping"); len(started) != 1 || len(stopped) != 0 {
		t.Errorf("lines with starting: %+v, with stopping: %+v; want one and none", started, stopped)
	}
}
