package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

var (
	rounds = flag.Int("rounds", 7, "rounds over which medians are taken, at least 1")
	turn   = flag.Duration("turn", 4*time.Second, "how long each server is measured in each round, at least 1 s")
	data   = flag.String("data", "", "directory, named from the checkout's root, for the latencies that test/plots draws; empty writes none")
)

const (
	// connections is how many kept-alive connections carry the calls.
	connections = 8
	// idleTime is how long the servers rest before their idle memory is read.
	idleTime = 15 * time.Second
)

func TestBench(t *testing.T) {
	if *rounds < 1 || *turn < time.Second {
		t.Fatalf("check flags: -rounds %d must be at least 1, -turn %s at least 1s", *rounds, *turn)
	}
	b := setUp(t)
	r := results{conditions: conditions()}
	step := func(text string) { t.Log(time.Now().Format(time.TimeOnly), text) }
	step("start-up")
	r.startup = b.measureStartup(t, 2)
	b.find(t) // the restart has replaced the replica
	step("idle")
	b.Pause(idleTime)
	step("calls of 6.9 KB")
	dial := b.Cluster.Dialer(node)
	r.review = measureDirect(t, b.servers, dial, calls{review(t), connections, *rounds, *turn, true})
	step("pod creations")
	r.creations = b.measureCreations(t)
	for _, size := range []struct {
		name               string
		bytes, connections int
	}{
		{"100 KiB", 100 << 10, connections},
		// More at once would be answered 503, see server.DefaultBodyBudget.
		{"3 MiB, 4 connections", 3 << 20, 4},
	} {
		step("calls of " + size.name)
		body := enlarged(t, review(t), size.bytes)
		r.large = append(r.large, sized{size.name, measureDirect(t, b.servers, dial, calls{body, size.connections, 3, *turn, false})})
	}
	step("Go benchmark")
	r.core = b.measureCore(t)
	r.binary, r.image = b.sizes(t)
	if *data != "" {
		writeLatencies(t, b.Path(*data), r)
	}
	b.Report(t, "test/bench", r.markdown())
}

// review is an admission review as kube-apiserver sends it.
func review(t *testing.T) []byte {
	t.Helper()
	body, err := os.ReadFile("../../internal/mutator/testdata/review.json")
	kit.Must(t, err)
	return body
}

// sizes are those of our binary and of the image around it.
func (b *bench) sizes(t *testing.T) (binary, image int64) {
	t.Helper()
	exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", b.servers[ours].pid))
	kit.Must(t, err)
	name := filepath.Join(t.TempDir(), "webhook.tar")
	kit.Must(t, cluster.BuildWebhookImage(b.Ctx, name))
	archive, err := os.Stat(name)
	kit.Must(t, err)
	return exe.Size(), archive.Size()
}

// conditions is the line above the tables.
func conditions() string {
	return fmt.Sprintf("%s, one-minute load before the run %s; TLS 1.3, %d kept-alive connections, medians of %d rounds of %s in turn. "+
		"Memory: anonymous + what the kernel holds for the container, neither of which it can reclaim; then the working set.",
		machine(), loadAverage(), connections, *rounds, *turn)
}

func machine() string {
	return fmt.Sprintf("%s, %s, %d CPUs", time.Now().UTC().Format(time.DateOnly), runtime.Version(), runtime.NumCPU())
}

// loadAverage is how busy the machine was over the last minute.
func loadAverage() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(content), " ")
	return first
}
