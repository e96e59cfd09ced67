package bench

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"sts-mutating-webhook/internal/mutator"
	webhook "sts-mutating-webhook/internal/server"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/selfsigned"
)

var (
	local = flag.Int("local", 0, "rounds of a comparison without a cluster, on loopback and with the access log going to /dev/null; 0 skips it")
	serve = flag.Bool("serve", false, "this process is to be our server of -local")
)

func TestLocal(t *testing.T) {
	if *local == 0 {
		t.Skip("NOT RUN without -local")
	}
	program := filepath.Join(t.TempDir(), "floor")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./floor").CombinedOutput(); err != nil {
		t.Fatalf("build floor: %v: %s", err, out)
	}
	servers := []*server{
		floor: startLocal(t, "floor", program, "-address=127.0.0.1:0"),
		ours:  startLocal(t, "ours", os.Args[0], "-test.run=^TestServe$", "-serve"),
	}
	results := measureDirect(t, servers, new(net.Dialer).DialContext, calls{review(t), connections, *local, time.Second, true})
	least := results[floor]
	for _, d := range results {
		t.Logf("%-20s busy %s, x floor %.2f; at %d/s %s, x floor %.2f; p99 %s", d.name, micro(median(d.busy.cpu)), ratio(d.busy.cpu, least.busy.cpu),
			pacedRate, micro(median(d.paced.cpu)), ratio(d.paced.cpu, least.paced.cpu), micro(median(d.paced.p99)))
	}
}

// startLocal runs a server until the end of the test. Its first line is its address.
func startLocal(t *testing.T, name, program string, args ...string) *server {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() }) // t.Context has ended, and the process with it
	line, err := bufio.NewReader(out).ReadString('\n')
	kit.Must(t, err)
	return &server{name: name, address: strings.TrimSpace(line), pid: cmd.Process.Pid}
}

// TestServe is the server that TestLocal compares with the floor.
func TestServe(t *testing.T) {
	if !*serve {
		t.Skip("NOT RUN: it is a part of TestLocal")
	}
	certificate, err := selfsigned.New("ours")
	kit.Must(t, err)
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
	kit.Must(t, err)
	fmt.Println(s.Addr())
	kit.Must(t, s.Start(t.Context()))
}
