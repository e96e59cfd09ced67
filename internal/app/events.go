package app

import (
	"slices"
	"strings"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/recorder"
	"sts-mutating-webhook/internal/rotator"
)

// events translates what the mutator and the rotator report into alerts and Kubernetes' Events.
type events struct {
	notifier *alert.Notifier
	// recorder is nil with --events=false.
	recorder *recorder.Recorder
}

func (e events) Placed(p mutator.Placement) {
	e.notifier.Notify(alert.Event{
		Kind: alert.Placed, Reason: alert.PodPlaced, Namespace: p.Namespace, StatefulSet: p.StatefulSet,
		Ordinal: p.Ordinal, Key: p.Key, Value: p.Value,
	})
	e.recorder.Placed(statefulSetOf(p.Owner), p.Revision, p.Pod, labelsText(p.Key, p.Value))
}

func (e events) Denied(d mutator.Denial) {
	p := d.Problem
	text := p.Detail
	if p.Code != "" && !slices.Contains(alertCodes, p.Code) {
		text = d.Message // better in English than not at all
	}
	e.notifier.Notify(alert.Event{
		Kind: alert.Denied, Reason: d.Reason, Namespace: d.Namespace, StatefulSet: d.StatefulSet,
		Details: alert.Details{Code: p.Code, Field: p.Field, Value: p.Value, Form: p.Form, Text: text},
	})
	e.recorder.Denied(statefulSetOf(d.Owner), d.Reason, d.Message)
}

func statefulSetOf(o mutator.Owner) recorder.StatefulSet {
	return recorder.StatefulSet{APIVersion: o.APIVersion, Namespace: o.Namespace, Name: o.StatefulSet, UID: o.UID}
}

// labelsText writes keys and values, each joined with commas, as key=value.
func labelsText(keys, values string) string {
	pairs := strings.Split(keys, ",")
	for i, value := range strings.Split(values, ",") {
		pairs[i] += "=" + value
	}
	return strings.Join(pairs, ",")
}

// alertCodes are what alerts have words for.
var alertCodes = alert.Codes()

func (e events) certificate(ev rotator.Event) {
	e.notifier.Notify(alert.Event{
		Kind: alert.Kind(ev.Kind), Reason: ev.Reason,
		Details: alert.Details{
			Object: ev.Object, Cause: ev.Cause, Manager: ev.Manager, Count: ev.Count, Text: ev.Detail, Skew: ev.Skew,
			CA: ev.CA, CAEnds: ev.CAEnds, CertificateEnds: ev.CertificateEnds,
		},
	})
}

func (p *process) started() {
	p.log.Info("starting", "listener", p.server.Addr().String(), "health", p.server.HealthAddr().String())
	p.notifier.Notify(alert.Event{Kind: alert.Lifecycle, Reason: alert.Started})
}

func (p *process) stopping() {
	p.log.Info("stopped serving")
	p.notifier.Notify(alert.Event{Kind: alert.Lifecycle, Reason: alert.Stopping})
}
