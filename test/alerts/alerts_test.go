package alerts

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// storyTime bounds the whole story.
const storyTime = 15 * time.Minute

func TestEndToEndAlerts(t *testing.T) {
	if os.Getenv("TEST_CLUSTER") == "" {
		t.Skip("NOT RUN: the test brings up a real cluster; set TEST_CLUSTER=1 (make test-cluster) and be root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), storyTime)
	t.Cleanup(cancel)
	// An interrupted run cleans up, too.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	w := newWorld(ctx, t, os.Getenv("TEST_ALERTS") == "full")
	for _, chapter := range []struct {
		name string
		tell func(*world, *testing.T)
		// needed means that nothing after it makes sense without it.
		needed bool
	}{
		{"without the Secret admission works and nothing is sent", (*world).testOff, false},
		{"alert-test explains each answer", (*world).testAlertTest, false},
		{"the Secret turns alerts on without a restart", (*world).testTurnOn, true},
		{"every placed ordinal of 200, a mistake, a rotation and a repair are told", (*world).testDigests, false},
		{"dry runs and the replicas' own life are not told", (*world).testSilence, false},
		{"a line that DingTalk refuses silences neither a trust alert nor another StatefulSet", (*world).testImproper, false},
		{"a robot of a team hears of its namespace alone", (*world).testTeam, false},
		{"rollouts during constant news never ban the robot", (*world).testRollouts, false},
		{"a robot that hangs costs admission nothing", (*world).testHang, false},
		{"deleting the Secret turns alerts off without a restart", (*world).testTurnOff, false},
		{"with and without alerts the 99th percentile is the same", (*world).testLatencies, false},
		{"no token and no signing secret is to be read anywhere", (*world).testLeaks, false},
	} {
		begin := time.Now()
		ok := t.Run(chapter.name, func(t *testing.T) { chapter.tell(w, t) })
		t.Logf("chapter took %.1f s", time.Since(begin).Seconds())
		if !ok && chapter.needed {
			t.FailNow()
		}
	}
}
