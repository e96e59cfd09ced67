package rotator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Causes of a repair, as in the metric's label and in messages.
const (
	causeDeleted        = "deleted"
	causeEmptied        = "emptied"
	causeDamaged        = "damaged"
	causeReplaced       = "replaced" // a foreign CA, or an old copy
	causeBundleEmptied  = "bundle_emptied"
	causeBundleDamaged  = "bundle_damaged"
	causeBundleReplaced = "bundle_replaced"
)

var causes = []string{causeDeleted, causeEmptied, causeDamaged, causeReplaced, causeBundleEmptied, causeBundleDamaged, causeBundleReplaced}

// damage names what happened to the Secret.
func damage(seen observation, s state) string {
	switch {
	case seen.secret == nil:
		return causeDeleted
	case s.blank:
		return causeEmptied
	case s.secret == nil:
		return causeDamaged
	}
	return causeReplaced
}

// damageOf names what happened to a caBundle.
func damageOf(bundle []byte) string {
	switch {
	case len(bytes.TrimSpace(bundle)) == 0:
		return causeBundleEmptied
	case len(bundleCAs(bundle)) == 0:
		return causeBundleDamaged
	}
	return causeBundleReplaced
}

// condition is something that is wrong for a while. It is reported when it has
// lasted, in the log also when its cause changes, and when it ends.
type condition struct {
	message      string // of the log
	quiet        bool   // it is no error
	kind         EventKind
	began, ended string        // reasons of events; empty: none
	after        time.Duration // how long it must have lasted
}

var (
	cannotRead = condition{message: "cannot read from the apiserver"}
	// The manifests of a version before this configuration lack the right to read it.
	cannotFollow = condition{message: "leaving a webhook configuration alone that cannot be read: apply the manifests of this version", after: 30 * time.Second}
	cannotWrite  = condition{message: "the apiserver refuses a write; serving goes on", kind: EventCertificate, began: ReasonWriteRefused, ended: ReasonWriteSucceeded, after: 3 * time.Second}
	notTrusted   = condition{message: "the apiserver does not call this replica", kind: EventTrust, began: ReasonTrustLost, ended: ReasonTrustRestored, after: 5 * time.Second}
	wrongClock   = condition{message: "the node's clock is wrong", kind: EventClock, began: ReasonClockSkew, ended: ReasonClockRight}
	badRequest   = condition{message: "ignoring a request that cannot be read; write it with: sts-webhook rotate"}
	newerFormat  = condition{message: "a newer build keeps the Secret: leaving it alone", quiet: true}
)

// conditionState is what became of one condition of one object.
type conditionState struct {
	since  time.Time
	logged string // the cause, without what differs each time; empty: not yet
}

// note says whether a condition holds: err is its cause, nil when it does not. object
// tells apart conditions of several objects.
func (r *Rotator) note(c condition, object string, err error) {
	key := c.message + object
	s, now := r.loop.conditions[key], r.clock.Now()
	if err == nil {
		delete(r.loop.conditions, key)
		if s.logged != "" {
			r.log.Info("resolved", "condition", c.message, "object", object, "lasted", now.Sub(s.since).String())
			r.report(Event{Kind: c.kind, Reason: c.ended, Object: object, Message: "resolved: " + c.message})
		}
		return
	}
	if s.since.IsZero() {
		s.since = now
	}
	if text := number.ReplaceAllString(err.Error(), ""); text != s.logged && now.Sub(s.since) >= c.after {
		if c.quiet {
			r.log.Info(c.message, "cause", err.Error())
		} else {
			r.log.Error(err, c.message, "object", object)
		}
		if s.logged == "" {
			e := Event{Kind: c.kind, Reason: c.began, Object: object, Detail: err.Error(), Message: c.message + ": " + err.Error()}
			if known, ok := errors.AsType[*causedError](err); ok {
				e.Cause = known.cause
			}
			if c.kind == EventClock {
				e.Skew = r.clock.Skew().Round(time.Second)
			}
			r.report(e)
		}
		s.logged = text
	}
	r.loop.conditions[key] = s
}

// number is what may differ between two messages of the same cause: a port, a
// duration, a version.
var number = regexp.MustCompile(`[0-9]+`)

func (r *Rotator) report(e Event) {
	if e.Reason != "" {
		r.opts.Report(e)
	}
}

// writeState is what became of the writes of one object.
type writeState struct {
	failures  int       // in a row
	since     time.Time // of the first of them
	heldUntil time.Time // none before this time

	repairs                int // with less than recursWithin between them
	repairedAt, reportedAt time.Time
	recurring              bool // this replica reported that the repairs recur, and not yet that they ended
}

// wrote notes the result of a write and returns when to look again.
func (r *Rotator) wrote(index int, k kind, err error) time.Duration {
	w, now := r.loop.writes[index], r.clock.Now()
	result, again := "success", time.Duration(0)
	switch {
	case err == nil:
		r.clearFailures(index)
	case apierrors.IsConflict(err), apierrors.IsNotFound(err) && k != create:
		result, again = "conflict", 50*time.Millisecond // somebody else wrote first
	default:
		if w.failures++; w.failures == 1 {
			w.since = now
		}
		r.note(cannotWrite, objectName(index), fmt.Errorf("%s: %w", k, err))
		result, again = "error", min(writeRetryFirst<<min(w.failures-1, 10), writeRetryLast)
		w.heldUntil = now.Add(again)
	}
	r.metrics.steps.WithLabelValues(string(k), result).Inc()
	r.publishOverdue()
	return again
}

// clearFailures notes that an object was written, by us or by somebody else, or
// need not be written any more.
func (r *Rotator) clearFailures(index int) {
	if w := r.loop.writes[index]; w.failures > 0 {
		w.failures, w.heldUntil = 0, time.Time{}
		r.note(cannotWrite, objectName(index), nil)
		r.publishOverdue()
	}
}

func (r *Rotator) publishOverdue() {
	first := int64(0)
	for _, w := range r.loop.writes {
		if since := w.since.UnixNano(); w.failures > 0 && (first == 0 || since < first) {
			first = since
		}
	}
	r.overdue.Store(first)
}

func objectName(index int) string {
	if index == secretIndex {
		return "Secret " + SecretName
	}
	return configurations[index].String()
}

const (
	// A repair that comes this often, with less than this time between, has a
	// cause that goes on.
	recurs       = 3
	recursWithin = 10 * time.Minute
)

// repaired counts and reports the repair of what a field manager wrote, or that it is needed again and again.
func (r *Rotator) repaired(ctx context.Context, index int, reason, cause, manager string, secret *corev1.Secret) {
	w, now, object := r.loop.writes[index], r.clock.Now(), objectName(index)
	if now.Sub(w.repairedAt) > recursWithin {
		w.repairs = 0
	}
	w.repairs, w.repairedAt = w.repairs+1, now
	r.metrics.repairs.WithLabelValues(cause).Inc()
	r.log.Info("repaired", "object", object, "cause", cause, "manager", manager)
	if w.repairs < recurs {
		r.report(Event{Kind: EventCertificate, Reason: reason, Object: object, Cause: cause, Manager: manager,
			Message: fmt.Sprintf("%s was %s (field manager: %s); repaired", object, cause, manager)})
		return
	}
	if now.Sub(w.reportedAt) <= recursWithin {
		return
	}
	w.reportedAt = now
	if err := r.cluster.claimReport(ctx, secret, object, now); err != nil {
		r.log.V(1).Info("not reporting that a repair recurs", "cause", err.Error())
		return
	}
	err := fmt.Errorf("%s was repaired %d times by this replica, the last time because it was %s; the field manager that changed it last is %q: stop it from writing there",
		object, w.repairs, cause, manager)
	r.log.Error(err, "repaired again and again", "object", object, "manager", manager, "count", w.repairs)
	w.recurring = true
	r.report(Event{Kind: EventCertificate, Reason: ReasonRepairRecurs, Object: object, Cause: cause, Manager: manager, Count: w.repairs, Message: err.Error()})
}

// reportCalm reports that what this replica had to repair again and again has been
// left alone for recursWithin.
func (r *Rotator) reportCalm() {
	for index, w := range r.loop.writes {
		if !w.recurring || r.clock.Now().Sub(w.repairedAt) <= recursWithin {
			continue
		}
		w.recurring = false
		object := objectName(index)
		r.log.Info("resolved", "condition", "repaired again and again", "object", object)
		r.report(Event{Kind: EventCertificate, Reason: ReasonRepairsEnded, Object: object,
			Message: fmt.Sprintf("%s needed no repair for %s", object, recursWithin)})
	}
}
