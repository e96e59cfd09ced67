package rollout

import (
	"testing"

	"sts-mutating-webhook/test/kit"
)

// writer names this package in the markers of a document.
const writer = "test/rollout"

func TestEndToEndRollout(t *testing.T) {
	s := setUp(t)
	kit.Run(t, s, []kit.Chapter[*suite]{
		{Name: "no creation is lost while replicas come and go", Run: (*suite).testEvents},
		{Name: "a thousand dry runs at once", Run: (*suite).testBurst},
		{Name: "a StatefulSet of a thousand replicas", Run: (*suite).testLargeStatefulSet, Long: true},
		{Name: "kube-apiserver repeats what was refused with Retry-After", Run: (*suite).testRetryAfter},
		{Name: "a burst of the largest bodies", Run: (*suite).testLargestBodies},
		{Name: "idle connections at 90 seconds", Run: (*suite).testIdleTimeout, Long: true},
		{Name: "an upgrade and the way back lose nothing", Run: (*suite).testUpgrade}, // the last one: the version before stays
	})
	paragraphs := []string{table(s.rows)}
	if text := s.drains.String(); text != "" {
		paragraphs = append(paragraphs, text)
	}
	s.Report(t, writer, paragraphs...)
}
