// Package load creates opted-in pods through a real kube-apiserver at a steady
// rate and classifies every answer. Each request is a dry run (dryRun=All): it goes
// through the whole admission chain and stores nothing.
//
// The load is open-loop: requests start when their time has come, not when the
// one before has ended, so a stall of the webhook shows up as latency and is not
// hidden by a slower client. It is bounded in rate, in number and in concurrency;
// what the bounds suppress is counted as Skipped.
package load
