package alert

import (
	"maps"
	"slices"
)

// The reasons of events, written as the reasons of Kubernetes' events. They are those
// of the packages that report: internal/app tests that none is missing here.
const (
	TrustLost, TrustRestored     = "TrustLost", "TrustRestored"
	ClockSkew, ClockRight        = "ClockSkew", "ClockRight"
	WriteRefused, WriteSucceeded = "WriteRefused", "WriteSucceeded"
	RepairRecurs, RepairsEnded   = "RepairRecurs", "RepairsEnded"
	PodsWaiting, PodsReleased    = "PodsWaiting", "PodsReleased"

	CACreated          = "CACreated"
	CARotated          = "CARotated"
	CADistrusted       = "CADistrusted"
	CARetired          = "CARetired"
	CertificateRenewed = "CertificateRenewed"
	SecretRestored     = "SecretRestored"
	CABundleRepaired   = "CABundleRepaired"

	Started  = "Started"
	Stopping = "Stopping"

	PodPlaced = "Placed"

	PodMalformed        = "PodMalformed"
	PodUnnamed          = "PodUnnamed"
	NoStatefulSet       = "NoStatefulSet"
	OrdinalInvalid      = "OrdinalInvalid"
	PodIndexMismatch    = "PodIndexMismatch"
	AnnotationMissing   = "AnnotationMissing"
	AnnotationMalformed = "AnnotationMalformed"
	AnnotationInvalid   = "AnnotationInvalid"

	// Recovered and MoreDenied are the queue's own: a pod of a denied StatefulSet was
	// placed, and denials of a namespace that were only counted.
	Recovered  = "Recovered"
	MoreDenied = "MoreDenied"
)

// severity orders what is reported; the worst comes first and stands in the title.
type severity int

const (
	info     severity = iota // nobody need do anything
	resolved                 // trouble is over
	notice                   // it was mended; a look is worth it
	warning                  // somebody should act
	critical                 // pods are refused or misplaced
)

// severities of the reasons; denials are warnings, the rest is info.
var severities = map[string]severity{
	TrustLost: critical, TrustRestored: resolved, ClockSkew: warning, ClockRight: resolved,
	WriteRefused: warning, WriteSucceeded: resolved, RepairRecurs: warning, RepairsEnded: resolved,
	PodsWaiting: warning, PodsReleased: resolved,
	SecretRestored: notice, CABundleRepaired: notice, Recovered: resolved,
	PodMalformed: warning, PodUnnamed: warning, NoStatefulSet: warning, OrdinalInvalid: warning, PodIndexMismatch: warning,
	AnnotationMissing: warning, AnnotationMalformed: warning, AnnotationInvalid: warning, MoreDenied: warning,
}

// severityOf is warning for a denial with a reason that is not known here.
func severityOf(k lineKey) severity {
	if s, known := severities[k.reason]; known || k.kind != Denied {
		return s
	}
	return warning
}

// endOf says what ends a state. A state is reported at every change.
var endOf = map[string]string{
	TrustLost: TrustRestored, ClockSkew: ClockRight, WriteRefused: WriteSucceeded, RepairRecurs: RepairsEnded, PodsWaiting: PodsReleased,
}

var beginOf = func() map[string]string {
	begins := map[string]string{}
	for begin, end := range endOf {
		begins[end] = begin
	}
	return begins
}()

// isState reports whether the reason begins or ends a state.
func isState(reason string) bool { return endOf[reason] != "" || beginOf[reason] != "" }

// Reasons lists the reasons for which there are texts of their own.
func Reasons() []string {
	return []string{
		TrustLost, TrustRestored, ClockSkew, ClockRight, WriteRefused, WriteSucceeded, RepairRecurs, RepairsEnded, PodsWaiting, PodsReleased,
		CACreated, CARotated, CADistrusted, CARetired, CertificateRenewed, SecretRestored, CABundleRepaired, Started, Stopping,
		PodPlaced, PodMalformed, PodUnnamed, NoStatefulSet, OrdinalInvalid, PodIndexMismatch,
		AnnotationMissing, AnnotationMalformed, AnnotationInvalid, Recovered, MoreDenied,
	}
}

// Codes lists the values of Details.Code for which there are texts.
func Codes() []string { return slices.Sorted(maps.Keys(chinese.codes)) }

// Causes lists the values of Details.Cause for which there are words.
func Causes() []string { return slices.Sorted(maps.Keys(chinese.causes)) }
