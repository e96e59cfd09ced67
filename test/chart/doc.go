// Package chart installs charts/sts-webhook with Helm on a real cluster: from an OCI
// registry, upgraded, rolled back and uninstalled while pods are created. That the chart
// renders what manifests/ holds is tested in test/chart/helm, without a cluster.
//
// It holds tests only.
package chart
