package chaos

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// scenarios is the suite, in the order of the table.
func scenarios() []scenario {
	all := slices.Concat(
		[]scenario{{name: "nothing happens", form: bothForms, ours: nothing, control: nothing}},
		secretScenarios(), bundleScenarios(), replicaScenarios(), rotationScenarios(), lifeScenarios(), fleetScenarios(),
	)
	// With -short the one scenario with the textbook comes last, which gives it the time to boot.
	last := secretScenarios()[0]
	last.name, last.form = last.name+", with the textbook", shortForm
	return append(all, last)
}

// recurring is expected wherever damage is done: the scenarios before did some, too.
var recurring = []string{recurs}

// secretScenarios damage the Secret. One write of the fleet repairs it.
func secretScenarios() []scenario {
	// The textbook renews a serving certificate without touching the CA, so it comes
	// away with damage of that alone.
	const loses, isSpared = true, false
	damage := func(form form, name string, controlLoses bool, change change) scenario {
		return scenario{
			name: "Secret: " + name, form: form, ours: damaged(change), control: damaged(change),
			repair: secretRepaired, writes: 1, errors: recurring, controlLoses: controlLoses,
		}
	}
	alone := func(sc scenario) scenario {
		sc.control = nil
		return sc
	}
	return []scenario{
		damage(longForm, "all data removed", loses, func(secret *corev1.Secret, _ map[string][]byte) { secret.Data = nil }),
		damage(longForm, "`ca.crt` removed", loses, removed(caCert)),
		damage(bothForms, "`ca.key` removed", loses, removed(caKey)),
		damage(longForm, "`tls.crt` removed", isSpared, removed(crt)),
		damage(longForm, "`tls.key` removed", isSpared, removed(key)),
		damage(longForm, "`ca.crt` truncated", loses, truncated(caCert)),
		damage(longForm, "`tls.crt` truncated", isSpared, truncated(crt)),
		damage(bothForms, "every key filled with junk", loses, junk),
		damage(longForm, "a complete keyring of a foreign CA", loses, replaced(caCert, caKey, crt, key)),
		// For the textbook it is the same as the keyring alone.
		alone(damage(bothForms, "the whole Secret of another cluster, with a later record", isSpared, foreignSecret)),
		damage(longForm, "`ca.key` of another CA", loses, replaced(caKey)),
		damage(longForm, "`tls.key` of another certificate", isSpared, replaced(key)),
		alone(damage(longForm, "the record removed", isSpared, recordRemoved)),
		{
			// One write creates it, one may fill it. The textbook never writes it again and
			// loses creations only once somebody has created it.
			name: "Secret: deleted", form: bothForms, ours: secretDeleted, control: deletedAndCreated,
			repair: secretRepaired, writes: 2, errors: recurring, controlLoses: true,
		},
		{name: "Secret: an older copy restored", form: bothForms, ours: olderCopy, rotates: true, writes: 6, errors: recurring},
	}
}

// bundleScenarios damage the webhook configuration. Until the caBundle is written
// again the apiserver cannot trust anybody, unless it is one that was right before.
func bundleScenarios() []scenario {
	damage := func(name string, do step) scenario {
		return scenario{name: name, form: bothForms, ours: do, control: do, repair: bundleRepaired, writes: 1, errors: recurring}
	}
	return []scenario{
		damage("caBundle: emptied", func(a *attempt) { a.must(a.changeBundle(nil)) }),
		damage("caBundle: no certificate", func(a *attempt) { a.must(a.changeBundle([]byte(noCertificate))) }),
		damage("caBundle: of a foreign CA", func(a *attempt) { a.must(a.changeBundle(a.foreign()[caCert])) }),
		damage("webhook configuration deleted and created again", recreateConfiguration),
		{
			name: "caBundle: replaced by an older one every 200 ms, during a rotation and after it", form: bothForms, prepare: nothingReported,
			ours: putBack, rotates: true, writes: 110, errors: recurring,
		},
	}
}

// replicaScenarios take replicas, the apiserver or the manifests.
func replicaScenarios() []scenario {
	return []scenario{
		{
			name: "a replica killed (SIGKILL) at every step of a rotation", form: bothForms,
			ours: killAtEveryStep, control: killThree, rotates: true, writes: 8,
		},
		{name: "rolling restart in the middle of a rotation", ours: restartInRotation, control: rollingRestart, rotates: true, writes: 4},
		{name: "scaled to one replica, then back to three", ours: oneReplica, control: oneReplica},
		{name: "the manifests applied 20 times", prepare: (*attempt).apply, ours: reapply},
		{
			name: "a rotation by a single replica whose clock is 10 min ahead",
			undo: removeSkewed, ours: wrongClockReplica, rotates: true, writes: 4, errors: []string{clockSaid},
		},
		{name: "apiserver stopped for 60 s", cluster: apiserverGone, control: nothing, forbids: true, errors: []string{""}},
		{name: "a replica started while the apiserver is stopped", cluster: startedWithoutAPIServer, forbids: true, errors: []string{""}},
	}
}

// rotationScenarios rotate on purpose. A rotation is two writes of each object,
// distrust one of each.
func rotationScenarios() []scenario {
	return []scenario{
		{name: "3 planned rotations", form: shortForm, ours: threeRotations, rotates: true, writes: 12},
		{name: "`rotate --distrust-now`", form: bothForms, ours: distrust, rotates: true, writes: 2},
		{
			name: "one of two apiservers stopped through a rotation and a distrust, then continued",
			form: bothForms, prepare: startSecondAPIServer, undo: killSecondAPIServer, control: nothing,
			cluster: stoppedThroughRotation, rotates: true, writes: 6, controlLoses: true,
		},
		{
			name: "one of two apiservers without news of a rotation, a distrust and a restart of all replicas",
			form: bothForms, prepare: startSecondAPIServer, undo: killSecondAPIServer, ours: staleThroughRotation, rotates: true, writes: 6,
		},
		{
			name: "`rotate --distrust-now` while a replica is cut off from the apiserver for 70 s",
			ours: distrustCutOff, rotates: true, writes: 2, errors: []string{""},
		},
	}
}

// lifeScenarios give certificates short lives. The textbook keeps them, so it is left
// out of what follows.
func lifeScenarios() []scenario {
	return []scenario{
		{
			name:    "20 rotations within 60 s (textbook: 1, at the end of its CA's life)",
			prepare: overlapAndControl, undo: ordinary, ours: rapidRotations, control: nextRotation,
			rotates: true, writes: 42, controlLoses: true, data: "rekey.csv",
		},
		{
			name:    "5 rotations driven by --ca-duration=30s, --cert-duration=12s",
			prepare: shortLived, undo: ordinary, ours: livesEnd, rotates: true, writes: 60,
		},
	}
}

// fleetScenarios are other builds, other installations and other rights.
func fleetScenarios() []scenario {
	return []scenario{
		{
			name:    "a rotation requested while writes of the Secret are refused for 20 s",
			prepare: (*attempt).apply, undo: (*attempt).apply,
			ours: writesRefused, rotates: true, writes: 4, forbids: true, errors: []string{"forbidden"},
		},
		{
			name: "a second installation with an entry in the same configuration; both rotate",
			undo: removeSecondAndApply, prepare: (*attempt).apply, ours: secondEntry, rotates: true, writes: 7,
		},
		{
			name:    "the manifests applied with another namespace, and back",
			prepare: (*attempt).apply, undo: removeSecondAndApply, ours: movedAway, rotates: true, writes: 6, errors: []string{notCalled},
		},
		{
			name: "a rollout to a build with the next record format, and back",
			undo: reinstall, ours: nextFormatAndBack, rotates: true, writes: 10, errors: recurring,
		},
	}
}
