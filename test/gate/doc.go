// Package gate compares what becomes of pods while the webhook is away, on a real
// cluster: with failurePolicy Fail, with Ignore, and with the scheduling gate of
// manifests/optional/gate/. It kills replicas under load, turns the gate on and off,
// and tries what the webhook's service account could do with its right to patch pods.
//
//	TEST_CLUSTER=1 go test -short -run EndToEnd -v ./test/gate             what a change has to pass
//	TEST_CLUSTER=1 go test -run EndToEnd -v ./test/gate -outage=10m        everything (make test-gate)
//	TEST_CLUSTER=1 go test -run EndToEndGate/many_pods -v ./test/gate      one chapter
//
// The flag -outage is for how long every replica is away.
package gate
