package chaos

import (
	"context"
	"fmt"
	"time"

	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/load"
)

// idleConnections is how many connections to a webhook an apiserver keeps: what is
// sent at once beyond them needs handshakes.
const idleConnections = 25

func startSecondAPIServer(ctx context.Context, s *suite) error {
	var err error
	s.second, err = s.cluster.StartSecondAPIServer(ctx)
	return err
}

func killSecondAPIServer(ctx context.Context, s *suite) error {
	s.second = nil
	return s.cluster.KillDaemon(ctx, cluster.SecondAPIServer)
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
	stopped := time.Now()
	if err := a.suite.cluster.PauseDaemon(cluster.SecondAPIServer); err != nil {
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
	if err := distrust(ctx, a); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := a.suite.cluster.ContinueDaemon(cluster.SecondAPIServer); err != nil {
		return err
	}
	continued := time.Now()
	if err := sleep(ctx, 3*time.Second); err != nil {
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
