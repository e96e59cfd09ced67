// Package alerts proves the alerts on a real cluster: the webhook as it is
// delivered, with three replicas, reports to a stand-in for DingTalk that runs in
// a pod.
//
// TestEndToEndAlerts is one story on one cluster. In its short form, part of make
// test-cluster, it takes about eight minutes, of which 30 rollouts are
// two. With TEST_ALERTS=full it also waits for
// the kubelets to notice a changed Secret by themselves, repeats the comparison of
// admission with and without alerts, and floods a replica with 100 000 distinct
// events. It needs root and TEST_CLUSTER=1.
package alerts
