// Package rollout counts the creations of pods that are lost while the webhook's
// replicas come and go on a real cluster. The textbook webhook (test/textbook)
// suffers the same after it, as the control.
//
//	TEST_CLUSTER=1 go test -short -run EndToEnd -v ./test/rollout                      what a change has to pass, without the control
//	TEST_CLUSTER=1 go test -run EndToEnd -v ./test/rollout -write docs/performance.md  everything (make test-rollout)
//
// It also shows what the losslessness rests on: that kube-apiserver repeats a call
// that was refused with Retry-After, that idle connections outlive its own, that a
// burst of the largest bodies does not kill a replica, and how long a Service goes
// on sending connections to a replica that ends.
package rollout
