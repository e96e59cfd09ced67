package rotator

import (
	"slices"
	"time"
)

// verdict says what a replica makes of the Secret it sees.
type verdict int

const (
	keep    verdict = iota // the Secret is what we remember
	adopt                  // the Secret is newer, or the first that we see: remember it
	restore                // the Secret is damaged or older: write back what we remember
	found                  // there never was a CA: make the first one
	wait                   // there was another CA: give a replica that remembers it time to say so
)

// sight is what a replica sees of the cluster.
type sight struct {
	secret *ring    // nil when the Secret is missing or damaged
	blank  bool     // the Secret is missing, or none of its keys has a value
	bundle []string // the CAs of the live caBundle; empty when it holds no certificate
}

// agreed reports whether the caBundle could be this Secret's: it tells nothing, or
// it holds the signer and no CA that the Secret lacks. It may hold less: a staged
// CA is injected a moment after the Secret was written.
func (s sight) agreed() bool {
	if len(s.bundle) == 0 {
		return true
	}
	ids := s.secret.ids()
	unknown := func(id string) bool { return !slices.Contains(ids, id) }
	return slices.Contains(s.bundle, s.secret.signer.id) && !slices.ContainsFunc(s.bundle, unknown)
}

// futureTolerance is how far ahead of our clock a step may be recorded. Steps
// are taken only by replicas whose clock is within maxSkew of the apiserver's,
// so two of them differ by at most twice that.
const futureTolerance = 2 * maxSkew

// judge compares what this replica remembers, nil for nothing, with what it sees.
//
// A replica that remembers a valid CA defends it: the later recorded step wins,
// so a replica that missed some steps adopts them, and an old copy or a foreign
// CA, which cannot carry a later step, is overwritten.
//
// A replica that remembers nothing believes a Secret only if the caBundle agrees
// with it. Otherwise one that starts just after the Secret was damaged would
// defend the damage against the replicas that are about to repair it.
func judge(memory *ring, seen sight, now time.Time) verdict {
	if memory == nil || !now.Before(memory.signer.expires) {
		switch {
		case seen.secret != nil && seen.agreed():
			return adopt
		case seen.blank && len(seen.bundle) == 0:
			return found
		}
		return wait
	}
	switch secret := seen.secret; {
	case secret == nil, secret.record.At.After(now.Add(futureTolerance)):
		return restore
	case secret.record.At.After(memory.record.At):
		return adopt
	case secret.record.At.Before(memory.record.At), !secret.sameCAs(*memory):
		return restore
	}
	return keep
}
