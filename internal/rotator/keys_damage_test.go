package rotator

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestParseKeyringNamesWhatIsWrong(t *testing.T) {
	k := keyrings()
	set := func(key string, value []byte) func(map[string][]byte) {
		return func(d map[string][]byte) { d[key] = value }
	}
	first, rotated := k.first.data, k.rotated.data
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   string
	}{
		"no data": {func(d map[string][]byte) { clear(d) }, "the Secret is empty"},
		"every key empty": {func(d map[string][]byte) {
			maps.Copy(d, map[string][]byte{caCertKey: nil, caKeyKey: nil, certKey: nil, keyKey: nil})
		}, "the Secret is empty"},
		"ca.crt removed":                 {set(caCertKey, nil), "ca.crt: holds 0 certificates, want 1 to 4"},
		"ca.crt truncated":               {set(caCertKey, rotated[caCertKey][:200]), "ca.crt: not a sequence of PEM"},
		"ca.crt is junk":                 {set(caCertKey, []byte("junk")), "ca.crt: not a sequence of PEM"},
		"ca.crt holds a damaged DER":     {set(caCertKey, encodePEM("CERTIFICATE", []byte("junk"))), "ca.crt: parse certificate 1"},
		"ca.crt with junk behind it":     {set(caCertKey, append(bytes.Clone(rotated[caCertKey]), "junk"...)), "ca.crt: not a sequence of PEM"},
		"ca.crt with junk before it":     {set(caCertKey, append([]byte("junk\n"), rotated[caCertKey]...)), "ca.crt: not a sequence of PEM"},
		"ca.crt holds the leaf":          {set(caCertKey, rotated[certKey]), "ca.crt: certificate 1 is not a CA"},
		"ca.crt holds a key":             {set(caCertKey, rotated[caKeyKey]), "ca.crt: not a sequence of PEM"},
		"ca.crt is another CA's":         {set(caCertKey, k.foreign.data[caCertKey]), "ca.key is not the key"},
		"ca.crt in another order":        {set(caCertKey, append(bytes.Clone(first[caCertKey]), k.retired.data[caCertKey]...)), "ca.key is not the key"},
		"ca.crt holds five CAs":          {set(caCertKey, append(bytes.Clone(k.fifth.data[caCertKey]), first[caCertKey]...)), "ca.crt: holds 5 certificates"},
		"ca.key removed":                 {set(caKeyKey, nil), "ca.key is not the key"},
		"ca.key truncated":               {set(caKeyKey, rotated[caKeyKey][:300]), "ca.key is not the key"},
		"ca.key is junk":                 {set(caKeyKey, []byte("junk")), "ca.key is not the key"},
		"ca.key swapped with tls.key":    {func(d map[string][]byte) { d[caKeyKey], d[keyKey] = d[keyKey], d[caKeyKey] }, "ca.key is not the key"},
		"ca.key of another CA":           {set(caKeyKey, k.foreign.data[caKeyKey]), "ca.key is not the key"},
		"ca.key of the CA before":        {set(caKeyKey, first[caKeyKey]), "ca.key is not the key"},
		"ca.key holds a certificate":     {set(caKeyKey, rotated[caCertKey]), "ca.key is not the key"},
		"ca.key and ca.crt swapped":      {func(d map[string][]byte) { d[caKeyKey], d[caCertKey] = d[caCertKey], d[caKeyKey] }, "ca.crt: not a sequence of PEM"},
		"ca.key in another PEM envelope": {set(caKeyKey, bytes.ReplaceAll(rotated[caKeyKey], []byte("RSA PRIVATE"), []byte("EC PRIVATE"))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := secretOf(k.rotated)
			c.change(s.Data)
			got, err := parseKeyring(s, testDNS)
			if c.want == "" { // no damage, or one that does not matter
				if err == nil && got.cas == nil {
					t.Error("no error, and no CA")
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			hidesContent(t, err, s)
		})
	}
}

// hidesContent fails if an error shows a line of what the Secret holds.
func hidesContent(t *testing.T, err error, s *corev1.Secret) {
	t.Helper()
	for key, value := range s.Data {
		for _, line := range strings.Split(string(value), "\n") {
			if len(line) >= 16 && strings.Contains(err.Error(), line) {
				t.Errorf("the error shows content of %s: %v", key, err)
			}
		}
	}
}

func TestADamagedLeafIsNoDamageOfTheCA(t *testing.T) {
	k := keyrings()
	for name, change := range map[string]func(map[string][]byte){
		"tls.crt removed":         func(d map[string][]byte) { delete(d, certKey) },
		"tls.key removed":         func(d map[string][]byte) { delete(d, keyKey) },
		"tls.crt truncated":       func(d map[string][]byte) { d[certKey] = d[certKey][:200] },
		"tls.key truncated":       func(d map[string][]byte) { d[keyKey] = d[keyKey][:100] },
		"tls.crt is junk":         func(d map[string][]byte) { d[certKey] = []byte("junk") },
		"tls.key is junk":         func(d map[string][]byte) { d[keyKey] = []byte("junk") },
		"tls.key of another leaf": func(d map[string][]byte) { d[keyKey] = k.foreign.data[keyKey] },
		"swapped":                 func(d map[string][]byte) { d[certKey], d[keyKey] = d[keyKey], d[certKey] },
		"a leaf of another CA":    func(d map[string][]byte) { d[certKey], d[keyKey] = k.foreign.data[certKey], k.foreign.data[keyKey] },
		"the CA in leaf's role":   func(d map[string][]byte) { d[certKey], d[keyKey] = d[caCertKey], d[caKeyKey] },
	} {
		t.Run(name, func(t *testing.T) {
			s := secretOf(k.rotated)
			change(s.Data)
			got, err := parseKeyring(s, testDNS)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if got.serving != nil || got.hasLeaf() || got.digest == k.rotated.digest {
				t.Error("the damaged leaf was accepted, or is not distinguished from a good one")
			}
			if err := got.parseServing(testDNS); err == nil || !strings.Contains(err.Error(), certKey) {
				t.Errorf("error %v, want one that names %s", err, certKey)
			} else {
				hidesContent(t, err, s)
			}
			step, due := nextStep(got.summary, request{}, issuePolicy, noon)
			if step != renew || due.After(noon) {
				t.Errorf("%s at %s, want renew at once", step, due)
			}
		})
	}
	if got, err := parseKeyring(secretOf(k.first), "other.test.svc"); err != nil || got.serving != nil {
		t.Errorf("a leaf for another name: error %v, accepted: %v", err, got.serving != nil)
	}
}

func TestTheDigestTellsEveryByteOfOurs(t *testing.T) {
	k := keyrings().first
	s := secretOf(k)
	s.Annotations[recordAnnotation] = strings.Replace(s.Annotations[recordAnnotation], "create", "rotate", 1)
	if got, err := parseKeyring(s, testDNS); err != nil || got.digest == k.digest {
		t.Errorf("a changed field of the record is not noticed (error %v)", err)
	}
	s = secretOf(k)
	s.Data["theirs"], s.Annotations["theirs"] = []byte("x"), "y"
	if got, err := parseKeyring(s, testDNS); err != nil || got.digest != k.digest {
		t.Errorf("what is not ours changes the digest (error %v)", err)
	}
}

func FuzzParseKeyring(f *testing.F) {
	k := keyrings()
	for _, k := range []*keyring{k.first, k.rotated, k.thrice} {
		f.Add(k.data[caCertKey], k.data[caKeyKey], k.data[certKey], k.data[keyKey], k.text)
		f.Add(k.data[caCertKey], k.data[caKeyKey], k.data[certKey], []byte(nil), "")
	}
	f.Add([]byte("x"), []byte(nil), []byte(nil), []byte(nil), `{"format":1}`)
	f.Fuzz(func(t *testing.T, caCert, caKey, cert, key []byte, text string) {
		s := &corev1.Secret{Data: map[string][]byte{caCertKey: caCert, caKeyKey: caKey, certKey: cert, keyKey: key}}
		s.Annotations = map[string]string{recordAnnotation: text}
		k, err := parseKeyring(s, testDNS)
		if err != nil {
			hidesContent(t, err, s)
			return
		}
		if back, err := parseKeyring(secretOf(k), testDNS); err != nil || back.digest != k.digest {
			t.Errorf("an accepted keyring does not survive being written: %v", err)
		}
	})
}

func FuzzParseCAs(f *testing.F) {
	k := keyrings()
	for _, text := range [][]byte{k.first.bundle(), k.thrice.bundle(), k.first.data[certKey], k.first.data[caKeyKey], []byte("junk"), nil} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cas, err := parseCAs(text)
		if err != nil {
			return
		}
		read := bundleCAs(text)
		if len(cas) != len(read) {
			t.Fatalf("ca.crt holds %d CAs, an apiserver reads %d", len(cas), len(read))
		}
		for i := range cas {
			if !cas[i].Equal(read[i]) {
				t.Errorf("certificate %d is read as another one", i)
			}
		}
	})
}
