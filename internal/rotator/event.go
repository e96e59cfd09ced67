package rotator

import "time"

// EventKind says what an Event is about.
type EventKind string

const (
	EventCertificate EventKind = "certificate" // a step, a renewal or a repair
	EventTrust       EventKind = "trust"       // the apiserver stopped or began to trust us
	EventClock       EventKind = "clock"       // the node's clock is wrong, or right again
)

// The reasons of events, written as the reasons of Kubernetes' events. Those on one
// line are the begin and the end of one condition.
const (
	ReasonTrustLost, ReasonTrustRestored     = "TrustLost", "TrustRestored"
	ReasonClockSkew, ReasonClockRight        = "ClockSkew", "ClockRight"
	ReasonWriteRefused, ReasonWriteSucceeded = "WriteRefused", "WriteSucceeded" // of one object
	ReasonRepairRecurs, ReasonRepairsEnded   = "RepairRecurs", "RepairsEnded"   // of one object

	ReasonCACreated          = "CACreated"
	ReasonCARotated          = "CARotated"
	ReasonCADistrusted       = "CADistrusted"
	ReasonCARetired          = "CARetired"
	ReasonCertificateRenewed = "CertificateRenewed"
	ReasonSecretRestored     = "SecretRestored"
	ReasonCABundleRepaired   = "CABundleRepaired"
)

// Reasons lists every Reason constant.
func Reasons() []string {
	return []string{
		ReasonTrustLost, ReasonTrustRestored, ReasonClockSkew, ReasonClockRight, ReasonWriteRefused, ReasonWriteSucceeded,
		ReasonRepairRecurs, ReasonRepairsEnded, ReasonCACreated, ReasonCARotated, ReasonCADistrusted, ReasonCARetired,
		ReasonCertificateRenewed, ReasonSecretRestored, ReasonCABundleRepaired,
	}
}

// Event is something an operator may want to know. One that concerns the fleet
// is reported by the replica that did the write, so once.
type Event struct {
	Kind    EventKind
	Reason  string // one of Reasons
	Message string // an English sentence; never holds key material

	// The parts of the message, for an observer that writes its own; each may be zero.
	Object  string        // what is written: Secret ..., MutatingWebhookConfiguration ...
	Cause   string        // a word: one of Causes
	Manager string        // the field manager that changed Object last
	Count   int           // repairs
	Skew    time.Duration // how far the node's clock is ahead of the apiserver's
	Detail  string        // English words of a library or of the apiserver
	// CA is the start of the signing CA's fingerprint; it and the certificate end then.
	CA                      string
	CAEnds, CertificateEnds time.Time
}

// Causes of a loss of trust, beside those of a repair.
const (
	causeConfigurationMissing = "configuration_missing"
	causeBundleUnverified     = "bundle_unverified"
)

// Causes lists every value of Event.Cause.
func Causes() []string {
	return append([]string{causeConfigurationMissing, causeBundleUnverified}, causes...)
}

// causedError is an error whose cause an observer can tell without reading it.
type causedError struct {
	cause string
	error
}
