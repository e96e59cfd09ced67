package alert

import (
	"fmt"
	"time"
)

// scene is one message of the gallery: what happened, and which category tells it.
type scene struct {
	title    string
	category category
	happens  func(*story)
}

// story makes events, a second apart, with a pinned clock.
type story struct {
	q   *queue
	now time.Time
}

func (s *story) add(e Event) {
	s.q.add(e, s.now)
	s.now = s.now.Add(time.Second)
}

// tell sends what waits, so that later events are news about what was reported.
func (s *story) tell(c category) {
	s.q.delivered(s.q.pick(c, s.now, true), s.now, true)
}

func (s *story) pass(d time.Duration) { s.now = s.now.Add(d) }

const (
	certsSecret   = "Secret sts-webhook-certs"
	configuration = "MutatingWebhookConfiguration sts-mutating-webhook"
)

var caEnds = Details{CA: "3f9a1c07b2de", CAEnds: time.Date(2036, 3, 1, 10, 0, 0, 0, time.UTC), CertificateEnds: time.Date(2027, 3, 1, 10, 0, 0, 0, time.UTC)}

// scenes are every kind of message, the worst first.
func scenes() []scene {
	all := []scene{
		{"trust lost", own, func(s *story) { s.add(trust(TrustLost)) }},
		{"the webhook configuration is missing", own, func(s *story) {
			s.add(Event{Kind: Trust, Reason: TrustLost, Details: Details{Cause: "configuration_missing"}})
		}},
		{"trust restored", own, func(s *story) {
			s.add(trust(TrustLost))
			s.tell(own)
			s.pass(4*time.Minute + 7*time.Second)
			s.add(trust(TrustRestored))
		}},
		{"trust comes and goes, and the clock is wrong", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: -6*time.Minute - 3*time.Second}})
			for _, reason := range []string{TrustLost, TrustRestored, TrustLost, TrustRestored, TrustLost} {
				s.add(trust(reason))
				s.pass(time.Minute)
			}
		}},
		{"the clock is wrong", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: 2*time.Hour + 5*time.Minute}})
		}},
		{"the clock is right again", own, func(s *story) {
			s.add(Event{Kind: Clock, Reason: ClockSkew, Details: Details{Skew: time.Hour}})
			s.tell(own)
			s.pass(26 * time.Hour)
			s.add(Event{Kind: Clock, Reason: ClockRight})
		}},
		{"a write is refused", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: WriteRefused, Details: Details{Object: certsSecret, Text: `restore: secrets "sts-webhook-certs" is forbidden: admission webhook "policy.example" denied the request`}})
		}},
		{"writes succeed again", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: WriteRefused, Details: Details{Object: certsSecret, Text: "x"}})
			s.tell(own)
			s.pass(12 * time.Minute)
			s.add(Event{Kind: Certificate, Reason: WriteSucceeded, Details: Details{Object: certsSecret}})
		}},
		{"something else writes the caBundle again and again", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: RepairRecurs, Details: Details{Object: configuration, Cause: "bundle_replaced", Manager: "argocd-controller", Count: 3}})
		}},
		{"it stopped", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: RepairRecurs, Details: Details{Object: configuration, Cause: "bundle_replaced", Manager: "argocd-controller", Count: 3}})
			s.tell(own)
			s.pass(20 * time.Minute)
			s.add(Event{Kind: Certificate, Reason: RepairsEnded, Details: Details{Object: configuration}})
		}},
		{"pods wait behind the scheduling gate", own, func(s *story) {
			s.add(Event{Kind: Gate, Reason: PodsWaiting, Details: Details{Count: 3, Value: "shop/db-0"}})
		}},
		{"they were placed, or deleted", own, func(s *story) {
			s.add(Event{Kind: Gate, Reason: PodsWaiting, Details: Details{Count: 3, Value: "shop/db-0"}})
			s.tell(own)
			s.pass(12 * time.Minute)
			s.add(Event{Kind: Gate, Reason: PodsReleased})
		}},
		{"the Secret was deleted and restored", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: SecretRestored, Details: Details{Object: certsSecret, Cause: "deleted", Manager: "unknown"}})
		}},
		{"the caBundle was repaired", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: CABundleRepaired, Details: Details{Object: configuration, Cause: "bundle_emptied", Manager: "kubectl-edit"}})
		}},
		{"a rotation", own, func(s *story) {
			s.add(Event{Kind: Certificate, Reason: CARotated, Details: caEnds})
			s.add(Event{Kind: Certificate, Reason: CARetired, Details: caEnds})
		}},
		{"a pod is refused", denials, func(s *story) {
			for range 7 {
				s.add(deniedFor("db", "evn"))
			}
		}},
		{"it is refused still, after ten minutes", denials, func(s *story) {
			s.add(deniedFor("db", "evn"))
			s.tell(denials)
			for range 17 {
				s.add(deniedFor("db", "evn"))
			}
			s.pass(10 * time.Minute)
			s.add(deniedFor("db", "evn"))
		}},
		{"several StatefulSets are refused, and one recovered", denials, func(s *story) {
			s.add(denied("old"))
			s.tell(denials)
			s.pass(12 * time.Minute)
			s.q.noteRecovery(placed("old", 0, "node1"), s.now)
			s.add(deniedFor("db", "evn"))
			s.add(Event{Kind: Denied, Reason: AnnotationMissing, Namespace: "shop", StatefulSet: "cache"})
			s.add(Event{Kind: Denied, Reason: AnnotationInvalid, Namespace: "bank", StatefulSet: "ledger",
				Details: Details{Code: "FieldInvalid", Field: "odd", Value: "@all [x](http://evil.test) **b**\n# h"}})
			s.add(Event{Kind: Denied, Reason: MoreDenied, Namespace: "load"})
		}},
		{"a StatefulSet recovered", denials, func(s *story) {
			s.add(denied("db"))
			s.tell(denials)
			s.pass(12 * time.Minute)
			s.q.noteRecovery(placed("db", 0, "node1"), s.now)
		}},
		{"200 pods are placed", placements, func(s *story) {
			for ordinal := range int32(200) {
				s.add(placed("web", ordinal, []string{"node1", "node2"}[ordinal%2]))
			}
			s.now = s.now.Add(-3 * time.Minute)
		}},
		{"other ordinals", placements, func(s *story) {
			for ordinal := int32(1); ordinal < 30; ordinal += 3 {
				s.add(placed("cache", ordinal, "node_3"))
			}
			for _, ordinal := range []int32{0, 2, 4, 7, 8, 9, 10, 11} {
				s.add(placed("db-2", ordinal, "node1"))
			}
		}},
		{"more than a message holds", denials, func(s *story) {
			for i := range 30 {
				s.add(denied(fmt.Sprintf("set-%02d", i)))
			}
			s.q.dropped = 12
		}},
		{"a replica starts", own, func(s *story) { s.add(Event{Kind: Lifecycle, Reason: Started}) }},
		{"a replica stops", own, func(s *story) { s.add(Event{Kind: Lifecycle, Reason: Stopping}) }},
	}
	for _, reason := range Reasons() {
		if kindOf(reason) != Denied || reason == AnnotationInvalid || reason == AnnotationMissing || reason == Recovered || reason == MoreDenied {
			continue
		}
		all = append(all, scene{"refused: " + reason, denials, func(s *story) {
			s.add(Event{Kind: Denied, Reason: reason, Namespace: "shop", StatefulSet: "db", Details: Details{Field: "spec.nodeSelector", Value: "7"}})
		}})
	}
	for _, code := range Codes() {
		all = append(all, scene{"refused: " + AnnotationInvalid + ", " + code, denials, func(s *story) {
			s.add(Event{Kind: Denied, Reason: AnnotationInvalid, Namespace: "shop", StatefulSet: "db", Details: Details{Code: code, Field: "odd", Value: "17"}})
		}})
	}
	return append(all, scene{"an unknown reason", denials, func(s *story) {
		s.add(Event{Kind: Denied, Reason: "SomethingNew", Namespace: "shop", StatefulSet: "db", Details: Details{Text: "what a newer part says"}})
	}})
}

// kindOf is the kind of events with the reason.
func kindOf(reason string) Kind {
	switch severities[reason] {
	case warning:
		if !isState(reason) {
			return Denied
		}
	case resolved:
		if reason == Recovered {
			return Denied
		}
	}
	return Certificate
}
