// Package monitoring holds the Prometheus rules, the dashboard and the runbook together, and proves each rule: with promtool, and by
// causing its incident on a real cluster that a real Prometheus scrapes. Prometheus is Debian's.
//
//	go test ./test/monitoring                                             rules, dashboard and runbook fit together; no root, no cluster
//	TEST_CLUSTER=1 go test -run 'Cluster|EndToEnd' -v ./test/monitoring   promtool and the incidents (make test-monitoring)
//
// The suite uses the rules and the scrape job as users do, with one change: every duration in them, "for" and the ranges of the
// expressions alike, is divided by the same factor, and Prometheus scrapes and evaluates once a second. Thresholds are not touched.
// Debian's Prometheus lacks the discovery of pods, so the suite lists them for it; the relabeling of the documented job chooses.
//
// Variables:
//
//	CLUSTER_NAME  the cluster is this name and "-watch"; it is made anew, and removed at the end
package monitoring
