package rotator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// link is the network between one client and the apiserver.
type link struct {
	api   *apiServer
	name  string
	mu    sync.Mutex    // guards what follows
	fault fault         // nil: none
	lag   time.Duration // of watch events
	upAt  time.Time     // since when it works; zero: it does not
	seen  []string      // "METHOD path" of every request that was answered
}

// fault answers instead of the apiserver. Both nil: it does not concern this request.
type fault func(*http.Request) (*http.Response, error)

func (a *apiServer) link(name string) *link { return &link{api: a, name: name, upAt: time.Now()} }

// RoundTrip takes a millisecond, so that the requests of two replicas interleave.
func (l *link) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-time.After(time.Millisecond):
	}
	l.mu.Lock()
	broken := l.fault
	l.seen = append(l.seen, req.Method+" "+req.URL.Path)
	l.mu.Unlock()
	var resp *http.Response
	if broken != nil {
		var err error
		if resp, err = broken(req); err != nil {
			return nil, err
		}
	}
	if resp == nil && req.URL.Query().Get("watch") != "" {
		resp = l.watch(req)
	}
	if resp == nil {
		resp = l.api.serve(req, l.name)
	}
	resp.Request = req
	resp.Header.Set("Date", l.api.now().UTC().Format(http.TimeFormat))
	return resp, nil
}

// cut ends every watch and lets f answer from now on.
func (l *link) cut(f fault) {
	l.mu.Lock()
	l.fault, l.upAt = f, time.Time{}
	l.mu.Unlock()
	l.api.mu.Lock()
	defer l.api.mu.Unlock()
	for s := range l.api.streams {
		if s.link == l {
			s.end(syscall.ECONNRESET)
		}
	}
}

// refuse lets f answer from now on; the watches go on.
func (l *link) refuse(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

// heal lets the apiserver answer again.
func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault = nil; l.upAt.IsZero() {
		l.upAt = time.Now()
	}
}

// up reports whether the link has worked for at least d.
func (l *link) up(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.upAt.IsZero() && time.Since(l.upAt) >= d
}

// refused is an apiserver that is not there.
func refused(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// hanging is an apiserver that never answers.
func hanging(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func forbidden(req *http.Request) (*http.Response, error) {
	err := errors.New("no RBAC rule allows it")
	return failure(apierrors.NewForbidden(resource(req.URL.Path), path.Base(req.URL.Path), err)), nil
}

func etcdFull(*http.Request) (*http.Response, error) {
	return failure(apierrors.NewInternalError(errors.New("etcdserver: mvcc: database space exceeded"))), nil
}

// only limits a fault to requests of these methods below a path.
func only(f fault, below string, methods ...string) fault {
	return func(req *http.Request) (*http.Response, error) {
		for _, method := range methods {
			if req.Method == method && strings.HasPrefix(req.URL.Path, below) {
				return f(req)
			}
		}
		return nil, nil
	}
}

func writes(f fault, below string) fault { return only(f, below, http.MethodPut, http.MethodPatch) }

// lostAnswer lets the apiserver do what it is asked, and loses the answer.
func (l *link) lostAnswer(req *http.Request) (*http.Response, error) {
	l.api.serve(req, l.name)
	return nil, syscall.ECONNRESET
}

// stream is one watch.
type stream struct {
	link *link
	path string
	next int           // index in the log
	kick chan struct{} // capacity 1
	body *io.PipeWriter
	stop context.CancelFunc
}

// end ends the watch; the client sees err.
func (s *stream) end(err error) {
	s.body.CloseWithError(err)
	s.stop()
}

// streamBody is what the client reads from.
type streamBody struct {
	*io.PipeReader
	*stream
}

func (b streamBody) Close() error {
	b.end(io.EOF)
	return b.PipeReader.Close()
}

func (s *stream) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// watch begins a watch; with sendInitialEvents the objects as they are come first.
func (l *link) watch(req *http.Request) *http.Response {
	a, q := l.api, req.URL.Query()
	reader, writer := io.Pipe()
	ctx, stop := context.WithCancel(req.Context())
	s := &stream{link: l, path: req.URL.Path + "/" + selected(req), kick: make(chan struct{}, 1), body: writer, stop: stop}
	var first []byte
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.Get("sendInitialEvents") == "true" {
		if i, ok := a.current[s.path]; ok {
			first = append(first, encodeJSON(map[string]any{"type": "ADDED", "object": decode(a.log[i].json)})...)
		}
		gvk := kinds[req.URL.Path]
		first = append(first, encodeJSON(map[string]any{"type": "BOOKMARK", "object": map[string]any{
			"kind": gvk.Kind, "apiVersion": gvk.GroupVersion().String(), "metadata": map[string]any{
				"resourceVersion": strconv.Itoa(len(a.log)), "annotations": map[string]any{"k8s.io/initial-events-end": "true"},
			},
		}})...)
		s.next = len(a.log)
	} else if rv, err := strconv.Atoi(q.Get("resourceVersion")); err == nil {
		s.next = rv
	}
	a.streams[s] = true
	go s.run(ctx, first)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: streamBody{reader, s}}
}

// run writes the events until ctx ends or the reader goes away.
func (s *stream) run(ctx context.Context, first []byte) {
	a := s.link.api
	stop := context.AfterFunc(ctx, func() { s.end(ctx.Err()) })
	defer func() {
		stop()
		s.end(io.EOF)
		a.mu.Lock()
		delete(a.streams, s)
		a.mu.Unlock()
	}()
	if _, err := s.body.Write(first); err != nil && len(first) > 0 {
		return
	}
	for {
		a.mu.Lock()
		var v *version
		for ; s.next < len(a.log) && v == nil; s.next++ {
			if a.log[s.next].path == s.path {
				v = a.log[s.next]
			}
		}
		a.mu.Unlock()
		if v == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.kick:
			}
			continue
		}
		s.link.mu.Lock()
		lag := s.link.lag
		s.link.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(lag - a.now().Sub(v.at)):
		}
		if _, err := s.body.Write(encodeJSON(map[string]any{"type": v.event, "object": decode(v.json)})); err != nil {
			return
		}
	}
}

func resource(key string) schema.GroupResource {
	gvk := kinds[path.Dir(key)]
	return schema.GroupResource{Group: gvk.Group, Resource: path.Base(path.Dir(key))}
}

func failure(err *apierrors.StatusError) *http.Response {
	status := err.Status()
	status.Kind, status.APIVersion = "Status", "v1"
	return answer(int(status.Code), status)
}

func answer(code int, body any) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(encodeJSON(body))),
	}
}

func encodeJSON(v any) []byte { return []byte(encode(v) + "\n") }

func decode(text []byte) map[string]any {
	var obj map[string]any
	if err := json.Unmarshal(text, &obj); err != nil {
		panic(err)
	}
	return obj
}

// merge is a JSON merge patch (RFC 7396).
func merge(old, patch map[string]any) map[string]any {
	merged := maps.Clone(old)
	if merged == nil {
		merged = map[string]any{}
	}
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(merged, k)
		case map[string]any:
			inner, _ := merged[k].(map[string]any)
			merged[k] = merge(inner, v)
		default:
			merged[k] = v
		}
	}
	return merged
}
