package chaos

import (
	"slices"
	"time"
)

// scenarios is the suite, in the order of the table.
func scenarios() []scenario {
	return slices.Concat(
		[]scenario{{name: "nothing happens", form: bothForms, ours: nothing, control: nothing}},
		secretScenarios(), bundleScenarios(), replicaScenarios(), rotationScenarios(), lifeScenarios(), fleetScenarios(),
	)
}

// recurring is expected wherever damage is done: the scenarios before did some, too.
var recurring = []string{recurs}

// secretScenarios damage the Secret. One write of the fleet repairs it.
func secretScenarios() []scenario {
	// The textbook renews a serving certificate without touching the CA, so it comes
	// away with damage of that alone.
	spared := func(name string, do injection) scenario {
		return scenario{name: "Secret: " + name, form: bothForms, ours: do, control: do, repair: secretRepair, writes: 1, errors: recurring}
	}
	fatal := func(name string, do injection) scenario {
		sc := spared(name, do)
		sc.controlLoses = true
		return sc
	}
	full := func(sc scenario) scenario {
		sc.form = longForm
		return sc
	}
	removed := fatal("all data removed", dataRemoved)
	removed.form = withControl
	record := spared("the record removed", recordRemoved)
	record.control = nil
	deleted := fatal("deleted", secretDeleted)
	// One write creates it, one may fill it. The textbook never writes it again and
	// loses creations only once somebody has created it.
	deleted.writes, deleted.rescue = 2, secretCreated
	another := fatal("the whole Secret of another cluster, with a later record", foreignSecret)
	another.control, another.controlLoses = nil, false // the same as the keyring alone
	older := spared("an older copy restored", olderCopy)
	older.control, older.rotates, older.repair, older.writes = nil, true, nothingToRepair, 6
	return []scenario{
		removed,
		full(fatal("`ca.crt` removed", keyRemoved(caCert))),
		fatal("`ca.key` removed", keyRemoved(caKey)),
		full(spared("`tls.crt` removed", keyRemoved(crt))),
		full(spared("`tls.key` removed", keyRemoved(key))),
		full(fatal("`ca.crt` truncated", truncated(caCert))),
		full(spared("`tls.crt` truncated", truncated(crt))),
		fatal("every key filled with junk", junk),
		full(fatal("a whole keyring of a foreign CA", foreignCA)),
		another,
		full(fatal("`ca.key` of another CA", swapped(caKey))),
		full(spared("`tls.key` of another certificate", swapped(key))),
		full(record),
		deleted,
		older,
	}
}

// bundleScenarios damage the webhook configuration. Until the caBundle is written
// again the apiserver cannot trust anybody, unless it is one that was right before.
func bundleScenarios() []scenario {
	damage := func(name string, do injection) scenario {
		return scenario{name: name, form: bothForms, ours: do, control: do, repair: bundleRepair, writes: 1, errors: recurring}
	}
	return []scenario{
		damage("caBundle: emptied", bundleEmptied),
		damage("caBundle: no certificate", bundleJunk),
		damage("caBundle: of a foreign CA", bundleForeign),
		damage("webhook configuration deleted and created again", recreateConfiguration),
		{
			name: "caBundle: put back to the one before a rotation, every 200 ms", form: bothForms, prepare: nothingReported,
			ours: putBack, verify: reportedOnce, rotates: true, writes: 110, errors: recurring,
		},
	}
}

// rotationScenarios rotate on purpose. A rotation is two writes of each object,
// distrust one of each.
func rotationScenarios() []scenario {
	return []scenario{
		{name: "3 planned rotations", form: shortForm, ours: rotations(3), rotates: true, writes: 12},
		{name: "`rotate --distrust-now`", form: bothForms, ours: distrust, rotates: true, writes: 2},
		{
			name: "one of two apiservers stopped through a rotation and a distrust, then continued",
			form: bothForms, prepare: startSecondAPIServer, undo: killSecondAPIServer, control: suffers,
			cluster: stoppedThroughRotation, rotates: true, writes: 6, controlLoses: true,
		},
		{
			name: "one of two apiservers hears of no rotation, no distrust, and calls new replicas",
			form: bothForms, prepare: startSecondAPIServer, undo: killSecondAPIServer, ours: staleThroughRotation, rotates: true, writes: 6,
		},
		{
			name: "`rotate --distrust-now` while a replica is cut off from the apiserver for 70 s",
			ours: distrustCutOff, verify: countCutOff, rotates: true, writes: 2, errors: []string{""},
		},
	}
}

// lifeScenarios give certificates short lives. The textbook keeps them, so it is left
// out of what follows.
func lifeScenarios() []scenario {
	return []scenario{
		{
			name:    "20 rotations within 60 s (textbook: 1, at the end of its CA's life)",
			prepare: overlapAndControl, undo: ordinary, ours: rapidRotations(20), control: nextRotation, rotates: true, writes: 42, controlLoses: true,
			data: "rekey.csv",
		},
		{name: "5 rotations driven by --ca-duration=30s, --cert-duration=12s", prepare: shortLived, undo: ordinary, ours: livesEnd, rotates: true, writes: 60},
	}
}

// replicaScenarios take replicas, the apiserver or the manifests.
func replicaScenarios() []scenario {
	return []scenario{
		{name: "a replica killed (SIGKILL) in every step of a rotation", form: bothForms, ours: killInEveryStep, control: killThree, rotates: true, writes: 8},
		{name: "rolling restart in the middle of a rotation", ours: restartInRotation, control: rollingRestart, rotates: true, writes: 4},
		{name: "all replicas but one removed, then added again", ours: oneReplica, control: oneReplica},
		{name: "the manifests applied 20 times", prepare: applied, ours: reapply(20)},
		{name: "a replica whose clock is 10 min ahead, alone", undo: removeSkewed, ours: wrongClockReplica, rotates: true, writes: 4, errors: []string{clockSaid}},
		{name: "apiserver stopped for 60 s", cluster: apiserverGone(60 * time.Second), control: suffers, forbids: true, errors: []string{""}},
		{name: "a replica started while the apiserver is stopped", cluster: startedWithoutAPIServer, forbids: true, errors: []string{""}},
	}
}

// fleetScenarios are other builds, other installations and other rights.
func fleetScenarios() []scenario {
	return []scenario{
		{
			name: "writes of the Secret refused for 20 s while a rotation is asked for",
			ours: writesRefused, verify: nothingOverdue, rotates: true, writes: 4, forbids: true, errors: []string{"forbidden"},
		},
		{
			name: "a second installation with an entry in the same configuration, both rotate",
			undo: removeSecondAndApply, prepare: applied, ours: secondEntry, rotates: true, writes: 7,
		},
		{
			name:    "the manifests applied with another namespace, and back",
			prepare: applied, undo: removeSecondAndApply, ours: movedAway, rotates: true, writes: 6, errors: []string{notCalled},
		},
		{
			name: "a rollout to a build with the next record format, and back",
			undo: reinstalled, ours: nextFormatAndBack, rotates: true, writes: 10, errors: recurring,
		},
	}
}
