package chaos

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// scenarios is the suite, in the order of the table.
func scenarios() []scenario {
	table := []scenario{
		{name: "nothing happens", short: true, ours: nothing, control: nothing},
	}
	for _, part := range [][]scenario{secretScenarios(), bundleScenarios(), replicaScenarios(), rotationScenarios()} {
		table = append(table, part...)
	}
	return table
}

// secretScenarios damage the Secret. One write of the fleet repairs it.
func secretScenarios() []scenario {
	damage := func(name string, e event) scenario {
		return scenario{name: "Secret: " + name, short: true, ours: e, control: e, heals: true, writes: 1, controlLoses: true}
	}
	table := []scenario{
		damage("all data removed", dataRemoved),
		damage("`ca.crt` removed", keyRemoved(caCert)),
		damage("`ca.key` removed", keyRemoved(caKey)),
		damage("`tls.crt` removed", keyRemoved(crt)),
		damage("`tls.key` removed", keyRemoved(key)),
		damage("`ca.crt` truncated", truncated(caCert)),
		damage("`tls.crt` truncated", truncated(crt)),
		damage("every key filled with junk", junk),
		damage("a whole keyring of a foreign CA", foreignCA),
		damage("`ca.key` of another CA", swapped(caKey)),
		damage("`tls.key` of another certificate", swapped(key)),
	}
	for i := range table {
		// The engine of both renews a serving certificate without touching the
		// CA, so the textbook may come away with these.
		switch table[i].name {
		case "Secret: `tls.crt` removed", "Secret: `tls.key` removed", "Secret: `tls.crt` truncated", "Secret: `tls.key` of another certificate":
			table[i].controlLoses = false
		}
	}
	table[0].shortControl = true
	deleted := damage("deleted", secretDeleted)
	// One write creates it, one fills it. The textbook never writes it again and
	// loses creations only once somebody has created it.
	deleted.writes, deleted.rescue = 2, secretCreated
	older := damage("an older copy restored", olderCopy)
	older.ours, older.control, older.controlLoses = olderCopy, nil, false
	older.rotates, older.heals, older.writes = true, false, 8
	return append(table, deleted, older)
}

// bundleScenarios damage the webhook configuration. Until the caBundle is
// written again the apiserver cannot trust anybody.
func bundleScenarios() []scenario {
	damage := func(name string, e event) scenario {
		return scenario{name: name, short: true, ours: e, control: e, bundle: true, writes: 1}
	}
	recreated := damage("webhook configuration deleted and created again", recreateConfiguration)
	// cert-controller's word for it, and no conflict.
	recreated.errors = []string{"Webhook not found"}
	return []scenario{
		damage("caBundle: emptied", bundleSet(func(string) ([]byte, error) { return nil, nil })),
		damage("caBundle: no certificate", bundleSet(garbageBundle)),
		damage("caBundle: of a foreign CA", bundleSet(foreignBundle)),
		recreated,
	}
}

// replicaScenarios take replicas, the apiserver or the manifests.
func replicaScenarios() []scenario {
	return []scenario{
		{name: "a replica killed (SIGKILL) in every step of a rotation", short: true, ours: killInEveryStep, control: killThree, kills: true, rotates: true, writes: 6},
		{name: "all replicas but one removed, then added again", ours: oneReplica, control: oneReplica},
		{name: "the manifests applied 20 times", prepare: applied, ours: reapply(20)},
		{name: "the manifests applied 5 times", short: true, shortOnly: true, prepare: applied, ours: reapply(5)},
		{name: "rolling restart in the middle of a rotation", ours: restartInRotation, control: rollingRestart, rotates: true, writes: 6},
		{name: "a replica whose clock is 10 min ahead", ours: wrongClockReplica, rotates: true, writes: 6, errors: []string{"refusing to rotate"}},
		{name: "apiserver stopped for 60 s", world: apiserverGone(60 * time.Second), bystander: true, starts: true, errors: []string{""}},
	}
}

// rotationScenarios rotate on purpose. Each rotation is three writes of each object.
func rotationScenarios() []scenario {
	return []scenario{
		{name: "3 planned rotations", short: true, shortOnly: true, ours: rotations(3), rotates: true, writes: 18},
		{name: "`rotate --distrust-now`", short: true, ours: distrust, rotates: true, writes: 6},
		{name: "20 planned rotations (textbook: 1, at the end of its CA's life)", ours: rotations(20), prepare: shortLivedControl, control: nextRotation, rotates: true, writes: 120, controlLoses: true},
		{name: "5 rotations driven by --ca-duration=30s, --cert-duration=12s", prepare: shortLived, ours: livesEnd, rotates: true, writes: 80},
	}
}

func nothing(ctx context.Context, _ *shot) error { return sleep(ctx, 2*time.Second) }

func dataRemoved(ctx context.Context, s *shot) error {
	return s.changeSecret(ctx, func(secret *corev1.Secret) { secret.Data = nil })
}

func keyRemoved(name string) event {
	return func(ctx context.Context, s *shot) error {
		return s.changeData(ctx, map[string][]byte{name: nil})
	}
}

func truncated(name string) event {
	return func(ctx context.Context, s *shot) error {
		data, err := s.data(ctx)
		if err != nil {
			return err
		}
		return s.changeData(ctx, map[string][]byte{name: data[name][:len(data[name])/2]})
	}
}

func junk(ctx context.Context, s *shot) error {
	text := []byte("\x00not a key\n-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n")
	return s.changeData(ctx, map[string][]byte{caCert: text, caKey: text, crt: text, key: text})
}

func foreignCA(ctx context.Context, s *shot) error {
	data, err := foreign(s.dnsName())
	if err != nil {
		return err
	}
	return s.changeData(ctx, data)
}

func swapped(name string) event {
	return func(ctx context.Context, s *shot) error {
		data, err := foreign(s.dnsName())
		if err != nil {
			return err
		}
		return s.changeData(ctx, map[string][]byte{name: data[name]})
	}
}

// garbageBundle is what the apiserver accepts as a caBundle and no client can use.
func garbageBundle(string) ([]byte, error) {
	return []byte("-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n"), nil
}

func foreignBundle(dnsName string) ([]byte, error) {
	data, err := foreign(dnsName)
	return data[caCert], err
}

func bundleSet(make func(dnsName string) ([]byte, error)) event {
	return func(ctx context.Context, s *shot) error {
		bundle, err := make(s.dnsName())
		if err != nil {
			return err
		}
		return s.changeBundle(ctx, bundle)
	}
}
