package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// DefaultAddress is the TLS address: the container port behind the Service.
	DefaultAddress = ":8443"
	// DefaultHealthAddress is the plain HTTP address of /healthz and /readyz.
	DefaultHealthAddress = ":8081"

	// DefaultDrainDelay covers the time from SIGTERM until every kube-proxy has taken the pod out of the Service
	// (EndpointSlice controller, watch, one sync: about 1 s on a small cluster). Beyond it nothing is lost at once: the
	// listener goes on refusing with Retry-After until no new connection has come for a second.
	DefaultDrainDelay = 6 * time.Second
	// DefaultDrainTimeout is DefaultDrainDelay plus twice the webhook's timeoutSeconds (5) and a margin: a request still
	// open after that has long been given up by its caller.
	DefaultDrainTimeout = 20 * time.Second
	// RecommendedGracePeriod is what terminationGracePeriodSeconds has to say with the default drain: DefaultDrainTimeout,
	// then 10 s for what the rest of the process still has to do.
	RecommendedGracePeriod = 30 * time.Second

	// DefaultMaxConnections is twenty times what an apiserver keeps idle (25), for four of them. A connection takes 20 to 33
	// KB; this many take a third of the container's memory limit.
	DefaultMaxConnections = 2048
	// DefaultMaxInFlight bounds the goroutines inside the handler; a call takes well under a millisecond, so this many at
	// once means that callers arrive faster than the CPU can answer within their timeout.
	DefaultMaxInFlight = 512
	// DefaultMaxBodyBytes is 10 MiB. etcd stores objects up to 1.5 MiB (its --max-request-bytes), and kube-apiserver writes each
	// '<', '>' and '&' of them as six bytes, as encoding/json does: 9 MiB and a frame. What makes a larger review is refused
	// by etcd a moment later, or by kube-apiserver before (3 MiB as sent).
	DefaultMaxBodyBytes = 10 << 20
	// DefaultBodyBudget is four of the largest bodies. A quarter of it is out of reach of large bodies, so that ordinary
	// pods (6 KB) are admitted beside them.
	DefaultBodyBudget = 4 * DefaultMaxBodyBytes
)

// Handler decides about one request whose body has come whole, and answers with one call of reply, which returns when the
// answer is on its way. What it does after that (log, count, alert) keeps nobody waiting. A status of 200 means JSON, any
// other one text; from 500 on the connection is closed. The body must not be used after the return.
type Handler = func(body []byte, reply func(status int, answer []byte))

// Options configures New. Every field is validated at once; New reports all mistakes together.
type Options struct {
	// Address is the TCP address of the TLS listener. Empty means DefaultAddress.
	Address string
	// HealthAddress is the TCP address of /healthz and /readyz over plain HTTP. Empty means DefaultHealthAddress.
	HealthAddress string
	// GetCertificate returns the serving certificate for each handshake. It must not block. Required.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Ready returns nil once the replica may be sent requests; before that the error's text is the answer of /readyz.
	// The first nil is remembered and Ready is not called again: later trouble must not turn a whole fleet NotReady. Required.
	Ready func() error
	// Handlers answer POST requests with JSON, by path; any other path is a 404. At least one is required.
	Handlers map[string]Handler
	// DrainDelay is how long the listener goes on answering normally after the context of Start has ended. Zero means no
	// delay; it has to be shorter than DrainTimeout. See DefaultDrainDelay.
	DrainDelay time.Duration
	// DrainTimeout bounds the whole drain, DrainDelay included. Zero means DefaultDrainTimeout. It has to stay below the
	// pod's terminationGracePeriodSeconds.
	DrainTimeout time.Duration
	// MaxConnections bounds the connections that are served. Zero means DefaultMaxConnections.
	MaxConnections int
	// MaxInFlight bounds the requests that are decided on at once. Zero means DefaultMaxInFlight.
	MaxInFlight int
	// MaxBodyBytes bounds one request body. Zero means DefaultMaxBodyBytes.
	MaxBodyBytes int
	// BodyBudget bounds the bytes of all buffers for request bodies. Zero means DefaultBodyBudget. Three quarters of it must
	// hold one body of MaxBodyBytes, or that body would never be admitted.
	BodyBudget int
	// Log receives what an operator should know; noise of the network is at V(1). The zero value discards.
	Log logr.Logger
	// Registerer receives the metrics, all at zero. Required.
	Registerer prometheus.Registerer
}

// withDefaults returns o with every documented zero value replaced.
func (o Options) withDefaults() Options {
	o.Address = orDefault(o.Address, DefaultAddress)
	o.HealthAddress = orDefault(o.HealthAddress, DefaultHealthAddress)
	o.DrainTimeout = orDefault(o.DrainTimeout, DefaultDrainTimeout)
	o.MaxConnections = orDefault(o.MaxConnections, DefaultMaxConnections)
	o.MaxInFlight = orDefault(o.MaxInFlight, DefaultMaxInFlight)
	o.MaxBodyBytes = orDefault(o.MaxBodyBytes, DefaultMaxBodyBytes)
	o.BodyBudget = orDefault(o.BodyBudget, DefaultBodyBudget)
	return o
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// validate reports every mistake of o, whose defaults are filled in.
func (o Options) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.GetCertificate != nil, "GetCertificate: required")
	check(o.Ready != nil, "Ready: required")
	check(len(o.Handlers) > 0, "Handlers: required")
	check(o.Registerer != nil, "Registerer: required")
	check(o.DrainDelay >= 0, "DrainDelay %s: must not be negative", o.DrainDelay)
	check(o.DrainTimeout > o.DrainDelay, "DrainTimeout %s: must be longer than DrainDelay %s", o.DrainTimeout, o.DrainDelay)
	check(o.MaxConnections > 0, "MaxConnections %d: must be positive", o.MaxConnections)
	check(o.MaxInFlight > 0, "MaxInFlight %d: must be positive", o.MaxInFlight)
	check(o.MaxBodyBytes > 0, "MaxBodyBytes %d: must be positive", o.MaxBodyBytes)
	check(largeLimit(o.BodyBudget) >= o.MaxBodyBytes,
		"BodyBudget %d: three quarters of it must hold one body of MaxBodyBytes %d", o.BodyBudget, o.MaxBodyBytes)
	return errors.Join(errs...)
}

// timing holds the limits that are no options, because only one value of each is right; tests shorten them.
type timing struct {
	// handshake bounds the TLS handshake. kube-apiserver gives up after 10 s (client-go's TLSHandshakeTimeout).
	handshake time.Duration
	// head bounds the arrival of the request head from its first byte on: one packet from an honest client.
	head time.Duration
	// body bounds the arrival of the body, and a second for each 4 MiB of it comes on top.
	body time.Duration
	// write bounds the sending of an answer, which fits into the kernel's buffer unless the client does not read.
	write time.Duration
	// first and idle are how long a connection may wait for its first and for each further request. They must be clearly
	// beyond the 90 s after which kube-apiserver closes its side (apimachinery's SetTransportDefaults): if we never close
	// first, we never cut a request. They differ in tests alone: client-go does not repeat a connection's first request.
	first, idle time.Duration
	// firstRequest is how long the drain leaves a connection alone that has not carried a request yet.
	firstRequest time.Duration
	// linger bounds the wait for the client's close after the last answer.
	linger time.Duration
	// quiet is how long no new connection may have come before the drain calls the Service free of this pod.
	quiet time.Duration
	// last is the end of DrainTimeout, in which no new connection is taken and requests under way are refused.
	last time.Duration
	// tick is how often the drain looks again.
	tick time.Duration
}

var production = timing{
	handshake:    10 * time.Second,
	head:         5 * time.Second,
	body:         time.Second,
	write:        10 * time.Second,
	first:        3 * time.Minute,
	idle:         3 * time.Minute,
	firstRequest: time.Second,
	linger:       2 * time.Second,
	quiet:        time.Second,
	last:         2 * time.Second,
	tick:         20 * time.Millisecond,
}
