// Command floor is the least that a webhook can do: a bare Go TLS server that
// reads the body and answers fixed bytes. It is what the benchmark compares with.
// On /review it puts the request's uid into the answer, because kube-apiserver
// takes no other. It prints its address.
package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"sts-mutating-webhook/test/selfsigned"
)

// The answer, around its uid, has the length and form of a real one: a patch of one operation.
const (
	beforeUID = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"`
	uid       = "705ab4f5-6393-11e8-b7cc-42010a800002"
	afterUID  = `","allowed":true,"patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL3NwZWMvbm9kZVNlbGVjdG9yIiwidmFsdWUiOnsibmFtZSI6Im5vZGUxIn19XQ==","patchType":"JSONPatch"}}`
	answer    = beforeUID + uid + afterUID
)

func main() {
	address := flag.String("address", ":8443", "address to listen on")
	flag.Parse()
	if err := run(*address); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	certificate, err := selfsigned.New("floor.bench.svc")
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", address, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certificate},
	})
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return (&http.Server{IdleTimeout: 3 * time.Minute, Handler: http.HandlerFunc(serve)}).Serve(listener)
}

func serve(w http.ResponseWriter, r *http.Request) {
	text := answer
	if r.URL.Path == "/review" {
		var head [256]byte // kube-apiserver writes the uid first
		n, _ := io.ReadFull(r.Body, head[:])
		_, after, _ := bytes.Cut(head[:n], []byte(`"uid":"`))
		id, _, _ := bytes.Cut(after, []byte(`"`))
		text = beforeUID + string(id) + afterUID
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the client is gone
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text) // the client reports what it does not get
}
