package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// dialog is what a server made of one connection's bytes.
type dialog struct {
	bodies []string // that the handler was given, in order
	codes  []int    // of the answers, in order
}

// parser feeds the bytes of a client to our server and to net/http's, which must see the same requests in them.
type parser struct {
	ca           *authority
	ours, theirs string
	// body hands over each body that a handler is given.
	body chan string
}

func newParser(tb testing.TB) *parser {
	p := &parser{ca: newAuthority(tb), body: make(chan string, 1000)}
	s := start(tb, p.ca, func(o *Options, tm *timing) {
		o.MaxBodyBytes, o.BodyBudget = 64<<10, 1<<20
		tm.linger = time.Second
		o.Handlers = admission(func(body []byte, reply func(int, []byte)) {
			p.body <- string(body)
			echo(body, reply)
		})
	})
	p.ours = s.Addr().String()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: p.ca.certificate})
	must(tb, err)
	// The handler does what ours does around its own, so that only the parsing differs.
	theirs := &http.Server{MaxHeaderBytes: maxHead, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mutate" || r.Method != http.MethodPost || !isJSON(r.Header.Get("Content-Type")) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.body <- string(body)
		_, _ = io.WriteString(w, "answer")
	})}
	done := make(chan error, 1)
	go func() { done <- theirs.Serve(l) }()
	tb.Cleanup(func() {
		_ = theirs.Close()
		<-done
	})
	p.theirs = l.Addr().String()
	return p
}

// talk sends text on one connection, ends the sending side, and returns what came of it.
func (p *parser) talk(tb testing.TB, addr, text string) dialog {
	tb.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: p.ca.pool, ServerName: serverName})
	must(tb, err)
	defer c.Close()
	must(tb, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = io.WriteString(c, text) // it may be refused before it was sent
	_ = c.CloseWrite()
	var d dialog
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			break
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusContinue {
			d.codes = append(d.codes, resp.StatusCode)
		}
		if resp.Close {
			break
		}
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() {
			tb.Fatalf("%q: the connection was not closed", text)
		}
	}
	for len(p.body) > 0 {
		d.bodies = append(d.bodies, <-p.body)
	}
	return d
}

// compare wants every body that our handler is given to be one that net/http gives its handler at the same place.
func (p *parser) compare(tb testing.TB, text string) (ours, theirs dialog) {
	tb.Helper()
	ours, theirs = p.talk(tb, p.ours, text), p.talk(tb, p.theirs, text)
	if len(ours.bodies) > len(theirs.bodies) || !slices.Equal(ours.bodies, theirs.bodies[:len(ours.bodies)]) {
		tb.Errorf("%q:\nour handler was given   %q\nnet/http gave its own   %q", text, ours.bodies, theirs.bodies)
	}
	return ours, theirs
}

// lines joins with CRLF.
func lines(l ...string) string { return strings.Join(l, "\r\n") }

const (
	requestLine = "POST /mutate HTTP/1.1"
	host        = "Host: x"
	json        = "Content-Type: application/json"
	second      = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 6\r\n\r\nsecond"
)

// parseCases are requests and what becomes of them: the bodies that the handler is given, and our answers. stricter marks
// what net/http takes and we do not.
var parseCases = map[string]struct {
	text     string
	bodies   []string
	codes    []int
	stricter bool
}{
	"one request":  {text: lines(requestLine, host, json, "Content-Length: 5", "", "first"), bodies: []string{"first"}, codes: []int{200}},
	"two requests": {text: lines(requestLine, host, json, "Content-Length: 5", "", "first") + second, bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"no body":      {text: lines(requestLine, host, json, "", "") + second, bodies: []string{"", "second"}, codes: []int{200, 200}},
	"a chunked body": {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "5", "first", "0", "", "") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"chunks with extensions and trailers": {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "2;a=b", "fi", "3", "rst", "0", "X: y", "", "") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"bare line feeds": {text: strings.ReplaceAll(lines(requestLine, host, json, "Content-Length: 5", "", "first"), "\r\n", "\n") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"Connection: close ends it": {text: lines(requestLine, host, json, "Connection: close", "Content-Length: 5", "", "first") + second,
		bodies: []string{"first"}, codes: []int{200}},
	"chunked and a length: chunked counts": {text: lines(requestLine, host, json, "Content-Length: 3", "Transfer-Encoding: chunked", "", "5", "first", "0", "", "") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"two lengths that agree": {text: lines(requestLine, host, json, "Content-Length: 5", "Content-Length: 5", "", "first") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},
	"an expectation that is met": {text: lines(requestLine, host, json, "Expect: 100-continue", "Content-Length: 5", "", "first") + second,
		bodies: []string{"first", "second"}, codes: []int{200, 200}},

	"two lengths that differ":       {text: lines(requestLine, host, json, "Content-Length: 5", "Content-Length: 6", "", "first") + second, codes: []int{400}},
	"a list of lengths":             {text: lines(requestLine, host, json, "Content-Length: 5, 5", "", "first") + second, codes: []int{400}},
	"a length with a sign":          {text: lines(requestLine, host, json, "Content-Length: +5", "", "first") + second, codes: []int{400}},
	"a length in hex":               {text: lines(requestLine, host, json, "Content-Length: 0x5", "", "first") + second, codes: []int{400}},
	"a length below zero":           {text: lines(requestLine, host, json, "Content-Length: -5", "", "first") + second, codes: []int{400}},
	"a length beyond 64 bits":       {text: lines(requestLine, host, json, "Content-Length: 18446744073709551621", "", "first") + second, codes: []int{400}},
	"an empty length":               {text: lines(requestLine, host, json, "Content-Length: ", "", "first") + second, codes: []int{400}},
	"a space before the colon":      {text: lines(requestLine, host, json, "Content-Length : 5", "", "first") + second, codes: []int{400}},
	"a space in a name":             {text: lines(requestLine, host, json, "Transfer Encoding: chunked", "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"a null byte in a value":        {text: lines(requestLine, host, json, "X: a\x00b", "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"a return in a value":           {text: lines(requestLine, host, json, "X: a\rb", "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"a line that is no header":      {text: lines(requestLine, host, json, "Content-Length", "", "first") + second, codes: []int{400}},
	"a first line with a space":     {text: lines(requestLine, " "+host, json, "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"no host":                       {text: lines(requestLine, json, "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"two hosts":                     {text: lines(requestLine, host, host, json, "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"a host with a space":           {text: lines(requestLine, "Host: a b", json, "Content-Length: 5", "", "first") + second, codes: []int{400}},
	"an encoding after chunked":     {text: lines(requestLine, host, json, "Transfer-Encoding: chunked, identity", "", "5", "first", "0", "", "") + second, codes: []int{400}},
	"chunked twice":                 {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "", "5", "first", "0", "", "") + second, codes: []int{400}},
	"an encoding with a tab inside": {text: lines(requestLine, host, json, "Transfer-Encoding: \vchunked", "", "5", "first", "0", "", "") + second, codes: []int{400}},
	"a chunk size with a sign":      {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "+5", "first", "0", "", "") + second, codes: []int{400}},
	"a chunk size beyond 64 bits":   {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "10000000000000005", "first", "0", "", "") + second, codes: []int{400}},
	"a chunk longer than it says":   {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "4", "first", "0", "", "") + second, codes: []int{400}},
	"a chunk that ends early":       {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "ff", "first", "0", "", "")},
	"a body that ends early":        {text: lines(requestLine, host, json, "Content-Length: 500", "", "first")},
	"a head that ends early":        {text: lines(requestLine, host, json)},
	"a head of 32 KiB":              {text: lines(requestLine, host, json, "X: "+strings.Repeat("x", 32<<10), "", "") + second, codes: []int{431}},
	"a body beyond the limit":       {text: lines(requestLine, host, json, "Content-Length: 65537", "", strings.Repeat("x", 65537)) + second, codes: []int{413}},
	"chunks beyond the limit":       {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "10001", strings.Repeat("x", 65537), "0", "", "") + second, codes: []int{413}},
	"chunks up to the limit":        {text: lines(requestLine, host, json, "Transfer-Encoding: chunked", "", "10000", strings.Repeat("x", 65536), "0", "", ""), bodies: []string{strings.Repeat("x", 65536)}, codes: []int{200}},
	"HTTP/2":                        {text: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", codes: []int{505}},
	"another expectation":           {text: lines(requestLine, host, json, "Expect: tea", "Content-Length: 5", "", "first") + second, codes: []int{417}},
	"no HTTP":                       {text: "\x16\x03\x01\x00\x05hello\r\n\r\n", codes: []int{400}},
	"another method":                {text: lines("GET /mutate HTTP/1.1", host, json, "", "") + second, codes: []int{405}},
	"another media type":            {text: lines(requestLine, host, "Content-Type: text/plain", "Content-Length: 5", "", "first") + second, codes: []int{415}},
	"no media type":                 {text: lines(requestLine, host, "Content-Length: 5", "", "first") + second, codes: []int{415}},
	"a media type with parameters":  {text: lines(requestLine, host, "Content-Type: Application/JSON; charset=utf-8", "Content-Length: 5", "", "first"), bodies: []string{"first"}, codes: []int{200}},
	"a media type that is longer":   {text: lines(requestLine, host, "Content-Type: application/jsonx", "Content-Length: 5", "", "first"), codes: []int{415}},
	"another path":                  {text: lines("POST /mutate2 HTTP/1.1", host, json, "Content-Length: 5", "", "first") + second, codes: []int{404}},

	"HTTP/1.0":                        {text: lines("POST /mutate HTTP/1.0", host, json, "Content-Length: 5", "", "first"), codes: []int{505}, stricter: true},
	"an absolute target":              {text: lines("POST http://x/mutate HTTP/1.1", host, json, "Content-Length: 5", "", "first"), codes: []int{400}, stricter: true},
	"an empty host":                   {text: lines(requestLine, "Host:", json, "Content-Length: 5", "", "first"), codes: []int{400}, stricter: true},
	"an empty line after the request": {text: lines(requestLine, host, json, "Content-Length: 5", "", "first", second), bodies: []string{"first"}, codes: []int{200, 400}, stricter: true},
}

func TestRequestsAreThoseThatNetHTTPSees(t *testing.T) {
	p := newParser(t)
	for name, tc := range parseCases {
		t.Run(name, func(t *testing.T) {
			ours, theirs := p.compare(t, tc.text)
			if !slices.Equal(ours.bodies, tc.bodies) || !slices.Equal(ours.codes, tc.codes) {
				t.Errorf("got bodies %.80q, answers %v, want %.80q, %v", ours.bodies, ours.codes, tc.bodies, tc.codes)
			}
			if stricter := len(theirs.bodies) > len(ours.bodies); stricter != tc.stricter {
				t.Errorf("net/http takes more: got %t, want %t (its answers %v)", stricter, tc.stricter, theirs.codes)
			}
		})
	}
}

// Whatever a client sends: no request is seen in it that net/http does not see.
func FuzzRequests(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(parseCases)) {
		if text := parseCases[name].text; len(text) < 2000 {
			f.Add(text)
		}
	}
	p := newParser(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 100_000 {
			t.Skip()
		}
		p.compare(t, text)
	})
}
