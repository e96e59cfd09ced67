// Package alerts proves the alerts on a real cluster: the webhook as it is
// delivered, with three replicas, reports to stand-ins for DingTalk that the test
// serves.
//
// TestEndToEndAlerts is one story on one cluster. Its short form is part of make
// test-cluster and takes some six minutes. The long one (without -short, make
// test-alerts) makes 30 rollouts instead of 10, waits for the kubelets to notice a
// changed Secret by themselves, repeats the comparison of admission with and without
// alerts, and floods a replica with 100,000 distinct events. It needs root and
// TEST_CLUSTER=1.
package alerts
