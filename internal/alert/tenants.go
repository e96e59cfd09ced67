package alert

import "time"

// addDenied takes a refusal. The same mistake of a StatefulSet is reported once in
// repeatAfter, another one at once.
func (q *queue) addDenied(e Event, now time.Time) outcome {
	key, set := keyOf(e), setKey{e.Namespace, e.StatefulSet}
	i := q.incidents[set]
	if i != nil {
		i.last = now
		q.dequeue(&i.recovery, denials)
	}
	l := q.lines[key]
	switch {
	case l != nil && l.count > 0:
		l.merge(now)
		return queued
	case l != nil && now.Sub(l.sentAt) < q.repeatAfter:
		l.repeats++
		return repeated
	case q.perNamespace[denials][key.namespace] >= maxDenialsPerNamespace:
		q.addMore(key.namespace, now)
		return refused
	case len(q.waiting[denials]) >= q.limits.lines:
		q.dropped++
		return refused
	}
	if l == nil {
		l = &line{key: key.clone()}
		q.lines[l.key] = l
	}
	if i == nil && set.name != "" && len(q.incidents) < q.limits.lines {
		i = &incident{since: now, last: now}
		i.recovery.key = lineKey{kind: Denied, reason: Recovered, namespace: l.key.namespace, statefulSet: l.key.statefulSet}
		q.incidents[setKey{l.key.namespace, l.key.statefulSet}] = i
	}
	if i != nil && l.sentAt.IsZero() {
		i.lines = append(i.lines, l)
	}
	q.enqueue(l, denials, now, q.window)
	return queued
}

// addMore counts a denial in the one line that a namespace has for those beyond its
// bound.
func (q *queue) addMore(namespace string, now time.Time) {
	key := lineKey{kind: Denied, reason: MoreDenied, namespace: namespace}
	l := q.lines[key]
	if l == nil {
		if len(q.waiting[denials]) >= q.limits.lines {
			q.dropped++
			return
		}
		l = &line{key: key.clone()}
		q.lines[l.key] = l
	}
	if l.count > 0 {
		l.merge(now)
		return
	}
	q.enqueue(l, denials, now, q.window)
}

// addPlaced takes a placed pod, which may be the recovery of its StatefulSet.
func (q *queue) addPlaced(e Event, now time.Time) outcome {
	q.noteRecovery(e, now)
	at := placeKey{e.Namespace, e.StatefulSet, cut(e.Key, maxKeyBytes), cut(e.Value, maxValueBytes)}
	l := q.placed[at]
	if l != nil {
		if _, waits := l.ordinals[e.Ordinal]; waits {
			l.last = now
			return queued
		}
		if at, known := l.sent[e.Ordinal]; known && now.Sub(at) < q.repeatAfter {
			return repeated
		}
	}
	starts := l == nil || len(l.ordinals) == 0
	if q.ordinals >= q.limits.ordinals || starts &&
		(len(q.waiting[placements]) >= q.limits.lines || q.perNamespace[placements][e.Namespace] >= maxPlacementsPerNamespace) {
		q.dropped++
		return refused
	}
	if l == nil {
		key := lineKey{kind: Placed, reason: PodPlaced, namespace: e.Namespace, statefulSet: e.StatefulSet, place: place{at.key, at.value}}.clone()
		l = &line{key: key, ordinals: map[int32]struct{}{}, sent: map[int32]time.Time{}}
		q.placed[placeOf(key)] = l
	}
	l.ordinals[e.Ordinal] = struct{}{}
	q.ordinals++
	if !starts {
		l.last = now
		return queued
	}
	q.enqueue(l, placements, now, q.window)
	return queued
}

func placeOf(k lineKey) placeKey {
	return placeKey{k.namespace, k.statefulSet, k.place.key, k.place.value}
}

// noteRecovery takes note that a pod was placed.
func (q *queue) noteRecovery(e Event, now time.Time) {
	i := q.incidents[setKey{e.Namespace, e.StatefulSet}]
	if i == nil || i.recovery.count > 0 {
		return
	}
	i.recovery.lasted = now.Sub(i.since)
	q.enqueue(&i.recovery, denials, now, recoverAfter)
}
