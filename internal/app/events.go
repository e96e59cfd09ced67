package app

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/rotator"
)

// events translates what the mutator and the rotator tell into alerts.
type events struct{ notifier *alert.Notifier }

func (e events) Placed(p mutator.Placement) {
	e.notifier.Notify(alert.Event{
		Kind: alert.Placed, Reason: "Placed", Namespace: p.Namespace, StatefulSet: p.StatefulSet,
		Ordinal: p.Ordinal, Key: p.Key, Value: p.Value,
	})
}

func (e events) Denied(d mutator.Denial) {
	e.notifier.Notify(alert.Event{
		Kind: alert.Denied, Reason: d.Reason, Namespace: d.Namespace, StatefulSet: d.StatefulSet, Message: d.Message,
	})
}

func (e events) certificate(ev rotator.Event) {
	e.notifier.Notify(alert.Event{Kind: alert.Kind(ev.Kind), Reason: ev.Reason, Message: ev.Message})
}

func (p *process) started() {
	p.log.Info("starting", "listener", p.server.Addr().String(), "health", p.server.HealthAddr().String())
	p.notifier.Notify(alert.Event{Kind: alert.Lifecycle, Reason: "Started"})
}

func (p *process) stopping() {
	p.log.Info("stopped serving")
	p.notifier.Notify(alert.Event{Kind: alert.Lifecycle, Reason: "Stopping"})
}

// watchReplicas keeps our own Deployment in the cache, for replicas.
func (p *process) watchReplicas() error {
	if _, err := p.manager.GetCache().GetInformer(context.Background(), &appsv1.Deployment{}, cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watch Deployment: %w", err)
	}
	return nil
}

// replicas is how many processes share the robot: the Deployment's pods, those
// of a rollout included; 1 while unknown.
func (p *process) replicas(namespace string) int {
	var d appsv1.Deployment
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // only the cache is asked; never wait for it
	if err := p.manager.GetCache().Get(ctx, client.ObjectKey{Namespace: namespace, Name: rotator.ServiceName}, &d); err != nil {
		return 1
	}
	return int(d.Status.Replicas)
}
