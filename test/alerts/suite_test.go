package alerts

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/webhook"
)

const (
	replicas = 3
	// waitTimeout bounds each wait for the cluster.
	waitTimeout = 2 * time.Minute
	clusterName = "proof"
	// improper is the word for which the fleet's robot refuses a message.
	improper = "improperword"
)

// flags of the webhook in the story. A short overlap lets a rotation end in seconds.
var flags = []string{
	"--dingtalk-allow-http", "--alert-language=en", "--alert-timezone=UTC", "--cluster-name=" + clusterName,
	"--ca-overlap=2s", "--rotation-check=1s",
}

// suite is what the chapters share.
type suite struct {
	*kit.Suite
	// fleet is the robot that the replicas report to, trial and strict are for
	// alert-test; strict asks for a keyword that no message holds, team hears of one namespace.
	fleet, trial, strict, team *kit.Robot
	// namespace is where the story's pods are created.
	namespace string
	// printed is what alert-test printed, to be searched for secrets.
	printed []string
	// off and hung are the loads without alerts and with a robot that hangs.
	off, hung []round
	// nudges counts the annotations that make the kubelets look at once.
	nudges int
	// loads counts the owners of pods made by create, reviews those of direct calls.
	loads   int
	reviews atomic.Int64
}

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

// setUp installs the webhook, with three replicas, the flags and the volume of a team's robot, and waits until no replica of
// another kind is left.
func setUp(t *testing.T) *suite {
	t.Helper()
	s := &suite{Suite: kit.Start(t, kit.Options{Name: "alerts", Timeout: 40 * time.Minute, Fresh: true})}
	_, err := s.Install(s.Ctx)
	kit.Must(t, err)
	args, err := json.Marshal(flags)
	kit.Must(t, err)
	patch := fmt.Sprintf(`{"spec":{"replicas":%d,"template":{"spec":{
		"containers":[{"name":%q,"args":%s,"volumeMounts":[{"name":"team","mountPath":"/etc/sts-webhook/robots/team","readOnly":true}]}],
		"volumes":[{"name":"team","secret":{"secretName":%q,"optional":true,"defaultMode":288}}]}}}}`,
		replicas, webhook.Deployment, args, teamSecret)
	s.Kubectl(t, "patch", "deployment", webhook.Deployment, "-n", webhook.Namespace, "-p", patch)
	kit.Must(t, s.WaitDrained(s.Ctx))
	s.namespace = s.Namespace(t, "proof")
	s.fleet = s.StartRobot(t, dingtalktest.Options{Improper: improper})
	s.trial = s.StartRobot(t, dingtalktest.Options{})
	s.strict = s.StartRobot(t, dingtalktest.Options{Keyword: "no message holds this"})
	s.team = s.StartRobot(t, dingtalktest.Options{})
	return s
}

// replicaPods are the three replicas that serve.
func (s *suite) replicaPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	s.Eventually(t, waitTimeout, func() (err error) {
		if pods, err = s.Replicas(s.Ctx); err == nil && len(pods) != replicas {
			err = fmt.Errorf("%d replicas, want %d", len(pods), replicas)
		}
		return err
	})
	return pods
}

// sum adds a metric over the replicas.
func (s *suite) sum(t *testing.T, metric string) float64 {
	t.Helper()
	n, err := s.Sum(s.Ctx, metric, nil)
	kit.Must(t, err)
	return n
}
