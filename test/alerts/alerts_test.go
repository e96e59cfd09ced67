package alerts

import (
	"testing"

	"sts-mutating-webhook/test/kit"
)

func TestEndToEndAlerts(t *testing.T) {
	kit.Run(t, setUp(t), []kit.Chapter[*suite]{
		{Name: "without the Secret admission works and nothing is sent", Run: (*suite).testOff},
		{Name: "alert-test explains each answer", Run: (*suite).testAlertTest},
		{Name: "the Secret turns alerts on without a restart", Run: (*suite).testTurnOn, Needed: true},
		{Name: "every placed ordinal of 200, a mistake, a rotation and a repair are reported", Run: (*suite).testDigests},
		{Name: "dry runs and the replicas' own life are not reported", Run: (*suite).testSilence},
		{Name: "a line that DingTalk refuses silences neither a trust alert nor another StatefulSet", Run: (*suite).testImproper},
		{Name: "a robot of a team receives the events of its namespace alone", Run: (*suite).testTeam},
		{Name: "rollouts during constant refusals never ban the robot", Run: (*suite).testRollouts},
		{Name: "a robot that hangs costs admission nothing", Run: (*suite).testHang},
		{Name: "deleting the Secret turns alerts off without a restart", Run: (*suite).testTurnOff},
		{Name: "with and without alerts the 99th percentile is the same", Run: (*suite).testLatencies},
		{Name: "no token and no signing secret is to be read anywhere", Run: (*suite).testLeaks},
	})
}
