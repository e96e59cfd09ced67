// Package bench compares the webhook with the least that a webhook can cost and
// with the ways that others go, on a real cluster of this machine:
//
//   - floor: a bare Go TLS server that reads the body and answers fixed bytes
//   - ours: the image and manifests of this checkout
//   - textbook: test/textbook, a typed controller-runtime handler
//   - a MutatingAdmissionPolicy, which needs no webhook
//
// All servers run in pods of one node and are measured in turn, round by round;
// a result is the median of the rounds, a ratio the median of the rounds' ratios.
// No target fails the test: the table says which are met.
//
//	TEST_CLUSTER=1 go test -timeout 40m -run Bench -v ./test/bench   print the table; needs root
//	  -write docs/performance.md -data docs/data                     and write it, and what test/plots draws (make bench)
//	go test -run Local -v ./test/bench -local 7                      floor and ours alone, in 7 rounds, without a cluster
package bench
