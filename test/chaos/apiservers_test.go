package chaos

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/load"
)

// idleConnections is how many connections to a webhook an apiserver keeps: what is
// sent at once beyond them needs handshakes.
const idleConnections = 25

// configurationKeys is a part of the keys of webhook configurations in etcd.
const configurationKeys = "/mutatingwebhookconfigurations/"

func startSecondAPIServer(ctx context.Context, s *suite) error {
	var err error
	s.second, err = s.Cluster.StartSecondAPIServer(ctx, configurationKeys)
	return err
}

func killSecondAPIServer(ctx context.Context, s *suite) error {
	if s.second == nil {
		return nil
	}
	second := s.second
	s.second = nil
	return second.Kill(ctx)
}

// staleThroughRotation keeps a rotation and a distrust of the new CA from the second
// apiserver, which goes on calling the webhook by the caBundle of before both. All
// replicas are replaced meanwhile, so that its connections are new ones.
func staleThroughRotation(ctx context.Context, a *attempt) error {
	second, begin := a.suite.second, time.Now()
	second.Withhold()
	defer second.Deliver()
	if err := a.rotate(ctx); err != nil {
		return err
	}
	if _, err := a.distrust(ctx); err != nil {
		return err
	}
	if err := a.restart(ctx); err != nil {
		return err
	}
	if err := a.awaitScale(ctx, replicas); err != nil {
		return err
	}
	if err := kit.Sleep(ctx, time.Second); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(second.Config)
	if err != nil {
		return err
	}
	// Resource version 0 asks for what the apiserver has, however old.
	config, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, a.configuration, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("read the configuration of the second apiserver: %w", err)
	}
	if got := string(a.bundleOf(config)); got != a.bundle {
		return fmt.Errorf("read the caBundle of the second apiserver: %v, want that of before the rotation, %v, or nothing is proved", fingerprints(got), fingerprints(a.bundle))
	}
	a.remark("%d creations through the apiserver that had heard of nothing for %.0f s", len(a.loads[1].Report().Since(begin).Samples), time.Since(begin).Seconds())
	return nil
}

// stoppedThroughRotation stops the second apiserver, rotates, then distrusts the new
// CA, and lets that apiserver go on: with the caBundle of before both it calls the
// webhook for what has waited, on new connections. The textbook replaces its CA in
// the same time, in the only way it has.
func stoppedThroughRotation(ctx context.Context, attempts []*attempt) error {
	a := attempts[0]
	// A call under way would be answered after the timeout of the stopped caller.
	for _, each := range attempts {
		each.loads[1].Hold()
	}
	second := a.suite.second
	stopped := time.Now()
	if err := second.Pause(); err != nil {
		return err
	}
	for _, each := range attempts {
		each.loads[1].Release()
	}
	if len(attempts) > 1 {
		if err := dataRemoved(ctx, attempts[1]); err != nil {
			return err
		}
	}
	if err := a.rotate(ctx); err != nil {
		return err
	}
	if _, err := a.distrust(ctx); err != nil {
		return err
	}
	if err := kit.Sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := second.Continue(); err != nil {
		return err
	}
	continued := time.Now()
	if err := kit.Sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	waited := 0
	for _, s := range a.loads[1].Report().Samples {
		if s.Start.Before(continued) && s.End().After(continued) && s.Outcome != load.Unavailable {
			waited++
		}
	}
	a.remark("one apiserver was stopped for %.1f s and then answered %d creations that had waited", continued.Sub(stopped).Seconds(), waited)
	if waited < 2*idleConnections {
		return fmt.Errorf("count the creations that waited for the stopped apiserver: %d, want at least %d, or nothing is proved", waited, 2*idleConnections)
	}
	return nil
}
