package server

import (
	"mime"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// maxHead bounds a request's head in bytes; kube-apiserver sends about 400.
const maxHead = 16 << 10

// failure is an answer that is not the handler's. The connection ends with it.
type failure struct {
	status int
	cause  cause // of a refusal that is counted
	header string
	text   string // the apiserver shows it when all its attempts have failed
}

func (f *failure) Error() string { return f.text }

func (f *failure) answer() []byte {
	return appendAnswer(nil, f.status, "text/plain; charset=utf-8", f.header, []byte(f.text), true)
}

// refusal is a "no" that the apiserver repeats. client-go does so at most 10 times, and a pool of up to 25 idle connections
// may all lead to this replica: with "Retry-After: 0" the ten attempts could be burnt here within a millisecond. After one
// second that pool has been emptied, and within timeoutSeconds: 5 there are still four attempts.
func refusal(c cause, text string) *failure {
	return &failure{status: http.StatusServiceUnavailable, cause: c, header: "Retry-After: 1\r\n", text: text + "\n"}
}

var (
	errNotReady    = refusal(causeNotReady, "this replica is not ready yet, try another one")
	errDraining    = refusal(causeDraining, "this replica is shutting down, try another one")
	errRequests    = refusal(causeRequests, "this replica has too many requests in flight, try again")
	errBytes       = refusal(causeBytes, "this replica holds too many bytes of request bodies, try again")
	errConnections = refusal(causeConnections, "this replica has too many connections, try again")
	errSlow        = refusal(causeSlow, "the request came too slowly, try again")
	// errIdle is sent on a connection that waits for a request. To a client that is idle as well it is a close with a line
	// in its log. A client whose request crosses it takes it for the answer to that request, and repeats the request
	// elsewhere; a bare close would be an EOF, which kube-apiserver never repeats for a POST.
	errIdle = refusal(causeIdle, "idle connection closed, try again")
)

// What is no admission call. The texts are those of RFC 9110 where there is nothing to add.
var (
	errMalformed    = &failure{status: http.StatusBadRequest, text: "malformed request\n"}
	errNotFound     = &failure{status: http.StatusNotFound, text: "404 page not found\n"}
	errMethod       = &failure{status: http.StatusMethodNotAllowed, header: "Allow: POST\r\n", text: "the method is not POST\n"}
	errBodyTooLarge = &failure{status: http.StatusRequestEntityTooLarge, text: "the body is too large\n"}
	errMediaType    = &failure{status: http.StatusUnsupportedMediaType, text: "the content type is not application/json\n"}
	errExpectation  = &failure{status: http.StatusExpectationFailed, text: "the expectation is not 100-continue\n"}
	errHeadTooLarge = &failure{status: http.StatusRequestHeaderFieldsTooLarge, text: "the head is too large\n"}
	errVersion      = &failure{status: http.StatusHTTPVersionNotSupported, text: "the protocol is not HTTP/1.1\n"}
)

// checkHead makes the checks that net/http's server adds to http.ReadRequest, and is stricter where kube-apiserver needs no
// more: HTTP/1.1 alone, and a target that is a path.
func checkHead(r *http.Request) error {
	if r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		return errVersion
	}
	if !strings.HasPrefix(r.RequestURI, "/") || r.Host == "" || !httpguts.ValidHostHeader(r.Host) {
		return errMalformed
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) { // ReadRequest lets "Content-Length :" pass, and does not obey it
			return errMalformed
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return errMalformed
			}
		}
	}
	if r.Header["Expect"] != nil && !expectsContinue(r) {
		return errExpectation
	}
	return nil
}

func expectsContinue(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue")
}

// admit returns the handler of a request, or why it is not let in.
func (s *Server) admit(r *http.Request) (Handler, error) {
	handler := s.options.Handlers[r.URL.Path]
	switch {
	case handler == nil:
		return nil, errNotFound
	case s.phase.Load() == refusing:
		return nil, errDraining
	case s.ready.err() != nil:
		return nil, errNotReady
	case r.Method != http.MethodPost:
		return nil, errMethod
	case !isJSON(r.Header.Get("Content-Type")):
		return nil, errMediaType
	case r.ContentLength > int64(s.options.MaxBodyBytes):
		return nil, errBodyTooLarge
	}
	return handler, nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" { // what the API server sends
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == "application/json"
}
