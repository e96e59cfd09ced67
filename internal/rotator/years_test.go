package rotator

import (
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a story in virtual time: it takes as long as its work, not its years.
func bubble(t *testing.T, p Policy, story func(f *fleet)) {
	begin := time.Now()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, p)
		stop := f.trust.watch(p.RotationCheck / 20)
		story(f)
		stop()
		f.stopAll()
		virtual := time.Since(epoch)
		t.Logf("%.1f days, %d writes, %d checks of trust", virtual.Hours()/24, len(f.writesSince(0)), f.trust.checks)
	})
	t.Logf("in %s", time.Since(begin).Round(time.Millisecond))
}

func TestYearsOfDefaultLife(t *testing.T) {
	bubble(t, defaults.every(defaults.CertDuration/6), func(f *fleet) {
		for range 3 {
			f.start()
		}
		time.Sleep(25 * 365 * day)
		f.settled()
	})
}
