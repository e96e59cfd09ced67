package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/test/process"
)

// startup is how long replicas of ours took from the start of the process, one
// value per replica.
type startup struct{ listening, ready []time.Duration }

// measureStartup replaces the replicas and reads the times from their logs.
func (b *bench) measureStartup(ctx context.Context, rounds int) (startup, error) {
	var s startup
	for range rounds {
		if err := b.webhook.Restart(ctx); err != nil {
			return s, err
		}
		replicas, err := b.webhook.Replicas(ctx)
		if err != nil {
			return s, err
		}
		for _, pod := range replicas {
			if err := b.addStartup(ctx, pod, &s); err != nil {
				return s, err
			}
		}
	}
	return s, nil
}

func (b *bench) addStartup(ctx context.Context, pod corev1.Pod, s *startup) error {
	pid, err := process.PID(pod, b.ours.program)
	if err != nil {
		return err
	}
	began, err := process.Started(pid)
	if err != nil {
		return err
	}
	log, err := b.webhook.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("read log of %s: %w", pod.Name, err)
	}
	listening, err := logged(log, "serving admission requests")
	if err != nil {
		return fmt.Errorf("read log of %s: %w", pod.Name, err)
	}
	ready, err := logged(log, "ready: ")
	if err != nil {
		return fmt.Errorf("read log of %s: %w", pod.Name, err)
	}
	s.listening, s.ready = append(s.listening, listening.Sub(began)), append(s.ready, ready.Sub(began))
	return nil
}

// logged is the time of the first line whose message begins with text.
func logged(log []byte, text string) (time.Time, error) {
	for line := range bytes.Lines(log) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if err := json.Unmarshal(line, &entry); err == nil && strings.HasPrefix(entry.Msg, text) {
			return entry.Time, nil
		}
	}
	return time.Time{}, fmt.Errorf("no line %q", text)
}

// pureCore is what the Go benchmark of the mutator says about one body.
type pureCore struct {
	body        int // bytes
	time        time.Duration
	allocations int
}

var benchmarkLine = regexp.MustCompile(`(?m)^BenchmarkDecodeDecideEncode/(\d+)B\S*\s+\d+\s+([\d.]+) ns/op.*?(\d+) allocs/op`)

// measureCore runs the Go benchmark of decode, decide and encode.
func (b *bench) measureCore(ctx context.Context) ([]pureCore, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecodeDecideEncode$", "-benchmem", "./internal/mutator")
	cmd.Dir = b.webhook.Path(".")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run Go benchmark: %w: %s", err, out)
	}
	var results []pureCore
	for _, m := range benchmarkLine.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, fmt.Errorf("read Go benchmark: %w", err)
		}
		// The pattern lets only digits through.
		body, _ := strconv.Atoi(m[1])
		allocations, _ := strconv.Atoi(m[3])
		results = append(results, pureCore{body, time.Duration(ns), allocations})
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("read Go benchmark: no result in %s", out)
	}
	return results, nil
}
