package bench

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
)

// startup is how long replicas of ours took from the start of the process, one
// value per replica.
type startup struct{ listening, ready []time.Duration }

// measureStartup replaces the replicas and reads the times from their logs.
func (b *bench) measureStartup(t *testing.T, rounds int) (s startup) {
	t.Helper()
	for range rounds {
		kit.Must(t, b.Restart(b.Ctx))
		replicas, err := b.Replicas(b.Ctx)
		kit.Must(t, err)
		for _, pod := range replicas {
			pid, err := process.PID(pod, b.servers[ours].program)
			kit.Must(t, err)
			began, err := process.Started(pid)
			kit.Must(t, err)
			log, err := b.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(b.Ctx)
			kit.Must(t, err)
			s.listening = append(s.listening, logged(t, log, "serving admission requests").Sub(began))
			s.ready = append(s.ready, logged(t, log, "ready: ").Sub(began))
		}
	}
	return s
}

// logged is the time of the first line whose message begins with text.
func logged(t *testing.T, log []byte, text string) time.Time {
	t.Helper()
	for line := range bytes.Lines(log) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if err := json.Unmarshal(line, &entry); err == nil && strings.HasPrefix(entry.Msg, text) {
			return entry.Time
		}
	}
	t.Fatalf("no line %q in the log:\n%s", text, log)
	return time.Time{}
}

// pureCore is what the Go benchmark of the mutator says about one body.
type pureCore struct {
	body        int // bytes
	time        time.Duration
	allocations int
}

var benchmarkLine = regexp.MustCompile(`(?m)^BenchmarkDecodeDecideEncode/(\d+)B\S*\s+\d+\s+([\d.]+) ns/op.*?(\d+) allocs/op`)

// measureCore runs the Go benchmark of decode, decide and encode.
func (b *bench) measureCore(t *testing.T) (results []pureCore) {
	t.Helper()
	cmd := exec.CommandContext(b.Ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecodeDecideEncode$", "-benchmem", "./internal/mutator")
	cmd.Dir = b.Path(".")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run Go benchmark: %v: %s", err, out)
	}
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		// The pattern lets only numbers through.
		body, _ := strconv.Atoi(m[1])
		ns, _ := strconv.ParseFloat(m[2], 64)
		allocations, _ := strconv.Atoi(m[3])
		results = append(results, pureCore{body, time.Duration(ns), allocations})
	}
	if len(results) == 0 {
		t.Fatalf("read Go benchmark: no result in %s", out)
	}
	return results
}
