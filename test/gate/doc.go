// Package gate compares what becomes of pods while the webhook is away, on a real
// cluster: with failurePolicy Fail, with Ignore, and with the scheduling gate of
// manifests/optional/gate/. It kills replicas under load, turns the gate on and off,
// and tries what the webhook's service account could do with its right to patch pods.
//
//	TEST_CLUSTER=1 go test -run EndToEnd -v ./test/gate             short, some four minutes
//	TEST_CLUSTER=1 GATE=full go test -run EndToEnd -v ./test/gate   everything (make test-gate)
//
// The flag -outage is how long every replica is away (make test-gate OUTAGE=1h): 10 s, or 10 min in full.
//
// Variables:
//
//	CLUSTER_NAME  the cluster is this name and "-gate"; one that exists is kept
//	GATE          "full" for everything
//	GATE_ONLY     a regular expression: the chapters to run
//	GATE_TABLE    a document whose part between the markers becomes the report
package gate
