// Package rollout counts the creations of pods that are lost while the webhook's
// replicas come and go on a real cluster. The textbook webhook (test/textbook)
// suffers the same after it, as the control.
//
//	TEST_CLUSTER=1 go test -run EndToEnd -v ./test/rollout                 short, about three minutes
//	TEST_CLUSTER=1 ROLLOUT=full go test -run EndToEnd -v ./test/rollout    everything (make test-rollout)
//
// It also shows what the losslessness rests on: that kube-apiserver repeats a call
// that was refused with Retry-After, that idle connections outlive its own, that a
// burst of the largest bodies does not kill a replica, and how long a Service goes
// on sending connections to a replica that ends.
//
// Variables:
//
//	CLUSTER_NAME    the cluster is this name and "-rollout"; one that exists is kept
//	ROLLOUT         "full" for everything
//	ROLLOUT_ONLY    a regular expression: the chapters to run
//	ROLLOUT_TABLE   a document whose part between the markers becomes the report
package rollout
