package app

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/placer"
)

// newPlacer needs the manager for its way to the apiserver.
func (c *serve) newPlacer(p *process) (*placer.Placer, error) {
	cluster, err := placer.NewCluster(p.manager.GetConfig(), p.manager.GetHTTPClient(), scheme(), mapper(),
		labels.Set{placement.Label: placement.LabelValue}, func(name string) bool { return slices.Contains(mutator.StoredKeys(), name) })
	if err != nil {
		return nil, err
	}
	events := events{p.notifier, p.recorder}
	return placer.New(placer.Options{
		Cluster: cluster, Decide: late{c.mutatorSettings(), events}.decide, Recorder: p.recorder,
		Changed: events.waiting, Replica: replicaName(), Log: p.log, Registerer: metrics.Registry,
	}), nil
}

// late decides about pods that were stored behind the gate, as the webhook does about
// those that are created.
type late struct {
	settings mutator.Settings
	observer mutator.Observer
}

func (l late) decide(pod *corev1.Pod) placer.Decision {
	object, err := json.Marshal(pod)
	if err != nil {
		return placer.Decision{Problem: "it cannot be read: " + err.Error()}
	}
	s := l.settings.PlaceStored(pod.Namespace, object)
	switch {
	case s.Denial != nil:
		return placer.Decision{Problem: s.Denial.Message, Report: func() { l.observer.Denied(*s.Denial) }}
	case s.Conflict:
		return placer.Decision{Problem: fmt.Sprintf("its own nodeSelector is in the way of %s, and Kubernetes lets nobody change that in a stored pod",
			labelsText(s.Placement.Key, s.Placement.Value))}
	}
	return placer.Decision{Patch: s.Patch, Report: func() { l.observer.Placed(s.Placement) }}
}

// waiting reports pods that have waited behind the gate for long, or that none does any more.
func (e events) waiting(s placer.State) {
	reason := alert.PodsReleased
	if s.Waiting > 0 {
		reason = alert.PodsWaiting
	}
	e.notifier.Notify(alert.Event{Kind: alert.Gate, Reason: reason, Details: alert.Details{Count: s.Waiting, Value: s.Pod}})
}
