package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/mutator"
	webhook "sts-mutating-webhook/internal/server"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/selfsigned"
)

// With BENCH_LOCAL=<rounds> the comparison of this program is made without a cluster: floor and ours are processes of their
// own on loopback, the access log goes to /dev/null. Programs in BENCH_LOCAL_OTHERS, test binaries of other revisions
// of this package, are measured in the same rounds.
//
//	BENCH_LOCAL=7 go test -run Local -v ./test/bench
const (
	localRounds = "BENCH_LOCAL"
	localOthers = "BENCH_LOCAL_OTHERS"
	localServer = "BENCH_LOCAL_SERVER" // this process is to be that server
)

func TestMain(m *testing.M) {
	if name := os.Getenv(localServer); name != "" {
		fmt.Fprintln(os.Stderr, serveLocal(name))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func serveLocal(name string) error {
	certificate, err := selfsigned.New("floor")
	if err != nil {
		return err
	}
	if name == "floor" {
		return serveFloor(certificate)
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(io.Discard, nil))
	s, err := webhook.New(webhook.Options{
		Address: "127.0.0.1:0", HealthAddress: "127.0.0.1:0",
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
		Ready:          func() error { return nil },
		Handlers: map[string]webhook.Handler{
			"/mutate": mutator.NewHandler(mutator.Settings{}, nil, io.Discard, log, prometheus.NewRegistry()).Handle,
		},
		Log: log, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	fmt.Println(s.Addr())
	return s.Start(context.Background())
}

// serveFloor is test/bench/floor on a free port of loopback.
func serveFloor(certificate tls.Certificate) error {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certificate}})
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	const answer = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002",` +
		`"allowed":true,"patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL3NwZWMvbm9kZVNlbGVjdG9yIiwidmFsdWUiOnsibmFtZSI6Im5vZGUxIn19XQ==","patchType":"JSONPatch"}}`
	return (&http.Server{IdleTimeout: 3 * time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})}).Serve(l)
}

func TestLocal(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv(localRounds))
	if rounds < 1 {
		t.Skip(localRounds + " is not set")
	}
	body, err := os.ReadFile("../../internal/mutator/testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name   string
		pid    int
		caller *caller
		result direct
	}
	var rows []*row
	add := func(name, program, server string) {
		address, pid := startLocal(t, program, server)
		c, err := newCaller(t.Context(), new(net.Dialer).DialContext, address, connections, body)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		if _, err := c.flood(time.Second / 2); err != nil { // warm up
			t.Fatal(err)
		}
		rows = append(rows, &row{name: name, pid: pid, caller: c})
	}
	add("floor", os.Args[0], "floor")
	add("ours", os.Args[0], "ours")
	for _, program := range strings.Fields(os.Getenv(localOthers)) {
		add(program, program, "ours")
	}
	for range rounds {
		for _, r := range rows {
			if err := r.result.flood(t.Context(), r.caller, r.pid, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range rows {
			if err := r.result.pace(r.caller, r.pid, time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, r := range rows {
		floor := rows[0].result
		t.Logf("%-20s busy %s, x floor %.2f; at %d/s %s, x floor %.2f; p99 %s", r.name, micro(median(r.result.cpu)), median(ratios(r.result.cpu, floor.cpu)),
			pacedRate, micro(median(r.result.pacedCPU)), median(ratios(r.result.pacedCPU, floor.pacedCPU)), micro(median(r.result.paced99)))
	}
}

// startLocal runs a server until the end of the test and returns its address and process.
func startLocal(t *testing.T, program, server string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), localServer+"="+server)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended, and the process with it
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.CPU(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid
}
