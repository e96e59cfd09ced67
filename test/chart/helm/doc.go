// Package helm pins Helm and a registry for charts, and tests charts/sts-webhook by
// Helm's own packages, without a cluster. test/chart installs the chart on a real one.
package helm
