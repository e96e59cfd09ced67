// Package server is the TLS listener that kube-apiserver calls, and its life. It knows nothing of pods or certificates: what
// to answer, which certificate to show and when the replica is ready are functions it is given.
//
// # Why a listener of our own
//
// kube-apiserver never repeats a webhook's POST that ended in EOF or a reset (kubernetes issue 127335): the pod is refused,
// and its StatefulSet backs off for up to 16 m 40 s. It does repeat a POST that was answered with 429 or 5xx and a
// Retry-After of whole seconds: client-go tries up to 10 more times inside the webhook's timeoutSeconds, and an answer with
// "Connection: close" makes it dial anew, so that the Service may choose another replica. All here follows from these two
// facts: never close a connection under a request, and say every "no" as 503, Retry-After: 1, Connection: close.
//
// # The path of a request
//
// Each connection has one goroutine: handshake, then, request by request, read the head (http.ReadRequest, so Go's parser and its
// checks), read the body, take a slot, decide, answer, and only then log, count and alert. That goroutine knows by itself
// whether it waits for its client; whoever wants the connection closed ends that wait, and the goroutine answers 503 in
// its own time. docs/decisions/0002-connection-loop.md says why net/http's server is not used.
//
// A client takes up nothing that it has not paid for: bytes are reserved as the body arrives, and a slot when it is whole.
//
// # What is refused
//
//   - not_ready: Options.Ready has not returned nil yet. Its first nil is remembered for good.
//   - draining: SIGTERM was DrainDelay ago.
//   - overloaded_requests: MaxInFlight requests are being decided on.
//   - overloaded_bytes: the body does not fit into BodyBudget, and no sender was slower. A body that must have come earlier is
//     cut to make room. Buffers over 64 KiB may fill three quarters of the budget; the rest is for small ones.
//   - overloaded_connections: of more than MaxConnections, this one has waited longest for its client; one that has carried a
//     request may wait 5 s longer than one that has not.
//   - slow: the head or the body did not come in time.
//
// sts_webhook_rejected_total{cause} counts them. The budget counts the bytes of bodies; a handler that copies them has
// to be allowed for in the pod's memory limit.
//
// # How a replica leaves
//
// When the context of Start ends (SIGTERM):
//
//  1. /readyz answers 503 "draining" at once. /healthz stays 200.
//  2. For DrainDelay (6 s) requests are answered normally. Each answer closes its connection, so that connections in use move
//     to other replicas while the Service learns that this one leaves.
//  3. Then new requests are refused, those inside the handler end, and idle connections are closed (below); one that has not
//     carried a request yet is left alone for its first second, since its request is likely on the way. This lasts until no
//     connection is open and none has come for 1 s, however slow the Service is to learn.
//  4. The listener is closed, what was accepted meanwhile is answered, and Start returns nil.
//
// DrainTimeout (20 s) bounds all of it. If connections go on arriving, the listener is closed 2 s before its end, and
// requests that have not come whole are refused. At its end a request in a handler that hangs is refused as well, and the log says how
// many connections were left. Set the pod's terminationGracePeriodSeconds to 30: DrainTimeout and 10 s for the rest of the
// process. With controller-runtime, the manager's GracefulShutdownTimeout must not be shorter than DrainTimeout either.
// No preStop hook is needed.
//
// # How an idle connection is closed
//
// kube-apiserver keeps up to 25 idle connections for 90 s. Closing one from our side races with a request on its way, and
// waiting until the client closes would hold every rollout for 90 s. Instead the server sends an answer that nobody has
// asked for, 503 with Retry-After and Connection: close, ends its sending side and reads until the client has closed. Go's
// client takes that answer for the one to a request that crossed it, and client-go repeats the request; if none did, it
// drops the connection and logs "Unsolicited response received on idle HTTP channel". That line in kube-apiserver's log,
// at most 25 times a rollout of a replica, is harmless.
//
// In normal service the race does not arise: a connection may wait 3 min for a request, twice the client's 90 s.
//
// # Limits that are no options
//
// TLS handshake 10 s; request head 5 s and 16 KiB; body 1 s and another one per 4 MiB; answer 10 s. As many handshakes compute at
// once as there are CPUs. TLS 1.3 and HTTP/1.1 only, no session tickets.
//
// # Metrics
//
//	sts_webhook_in_flight_requests                  requests inside the handler
//	sts_webhook_in_flight_body_bytes                bytes reserved for bodies
//	sts_webhook_open_connections                    connections, handshakes included
//	sts_webhook_rejected_total{cause}               see above
//	sts_webhook_bad_requests_total{code}            what is no admission call, by HTTP status
//	sts_webhook_panics_total                        requests answered with 500
//	sts_webhook_tls_handshake_errors_total{cause}   untrusted (the client refused our certificate), timeout, other
//
// A growing "untrusted" means that an API server holds a caBundle that does not verify the serving certificate.
package server
