package rotator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/test/document"
)

// The bounds in docs/rotation.md are those of the code.
func TestDocumentNamesTheBounds(t *testing.T) {
	seconds := func(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }
	var kinds []string
	for _, k := range []kind{keep, wait, adopt, restore, create, rotate, distrust, retire, renew, inject} {
		kinds = append(kinds, string(k))
	}
	sentences := []string{
		"Its result is one of " + strings.Join(kinds, ", ") + ".",
		"Otherwise it waits " + seconds(peerTimeout) + " for a replica that remembers.",
		"leaves every write to newer builds for " + seconds(peerTimeout),
		fmt.Sprintf("One that is only outdated is written %d ms after the keyring changed", injectDelay.Milliseconds()),
		"waits up to " + seconds(firstCertificateTimeout) + " for the first",
		fmt.Sprintf("**Neither an answer of the apiserver nor the lack of one ends the process.** Within %g s", (requestTimeout + time.Second).Seconds()),
		"is repeated after " + seconds(writeRetryLast) + " at most",
		fmt.Sprintf("beyond %g minutes, an alert", maxSkew.Minutes()),
		fmt.Sprintf("Up to %d older CAs and %d bridges are kept.", maxOldCAs, maxBridges),
		fmt.Sprintf("with less than %g min between them", recursWithin.Minutes()),
		"`WriteRefused` means that writes of an object have failed for " + seconds(cannotWrite.after),
		fmt.Sprintf("If any of %d rules and mechanisms is removed", len(brokenRules)),
	}
	for words, is := range map[string]bool{
		"the loop reads four times a second, for up to a minute": blindInterval == time.Second/4 && blindFor == time.Minute,
		"A replica that was cut off for a minute":                cutOffAfter == time.Minute,
		"From the third repair of an object on":                  recurs == 3,
		"the Secret `sts-webhook-certs`":                         SecretName == "sts-webhook-certs",
	} {
		if !is {
			t.Errorf("docs/rotation.md says %q, the constants differ", words)
		}
		sentences = append(sentences, words)
	}
	missing, err := document.Missing("../../docs/rotation.md", sentences...)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Errorf("docs/rotation.md does not say: %s", m)
	}
}
