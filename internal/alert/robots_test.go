package alert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestRobotsByNamespace(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		bank := dingtalktest.New(dingtalktest.Options{Token: "the-bank's-robot"})
		w.routes = map[string]*dingtalktest.Robot{"bank.test": bank}
		dir := filepath.Join(w.dir, "robots", "bank")
		n := w.start()
		n.Notify(trust(TrustLost))
		w.pass(time.Minute)
		if err := os.MkdirAll(dir, 0o700); err != nil { // a mounted Secret that does not exist yet
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if answer, err := n.Test(t.Context()); err != nil || strings.Contains(answer, "robot bank") {
			t.Errorf("answer %q, error %v, want nothing about a robot without credentials", answer, err)
		}
		// It comes without a restart.
		n.Notify(denied("earlier"))
		w.pass(time.Second)
		n.expect(t, map[string]float64{"queue_length": 1}) // the default robot's
		for name, text := range map[string]string{"url": "http://bank.test/?access_token=the-bank%27s-robot", "namespaces": "# ours\nbank\nbank-test # later\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n.Notify(denied("early")) // before the files have been looked at
		w.pass(time.Minute)
		n.Notify(trust(TrustRestored))
		n.Notify(denied("db")) // of namespace shop
		theirs := denied("ledger")
		theirs.Namespace = "bank"
		n.Notify(theirs)
		w.pass(time.Minute)
		heard := bank.Messages()
		if len(heard) != 1 || !strings.Contains(heard[0].Text, "bank/ledger") || strings.Contains(heard[0].Text, "shop/") {
			t.Errorf("the bank's robot heard %v, want its own denial alone", heard)
		}
		for _, want := range []string{"shop/db", "bank/ledger", "is trusted by the API server again"} {
			if !strings.Contains(w.sent(), want) {
				t.Errorf("the default robot did not hear of %q", want)
			}
		}
		if err := os.Remove(filepath.Join(dir, "namespaces")); err != nil { // something that cannot be read in its place
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "namespaces"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		n.Notify(denied("unreadable"))
		w.pass(time.Minute)
		if heard := bank.Messages(); len(heard) != 1 || w.logs.count("alerts cannot be sent") != 1 {
			t.Errorf("with a list of namespaces that cannot be read the robot heard %v; log %s", heard, w.logs)
		}
		if err := os.Remove(filepath.Join(dir, "namespaces")); err != nil {
			t.Fatal(err)
		}
		answer, err := n.Test(t.Context())
		if err != nil || strings.Count(answer, "accepted") != 2 || !strings.Contains(answer, "robot bank: ") {
			t.Errorf("answer %q, error %v, want a sentence for each robot", answer, err)
		}
		if w.logs.count(`"robot":"bank"`) == 0 {
			t.Error("the log does not say that the robot was seen")
		}
	})
}

func TestARobotIsNotToldWhatItMayNotHearAnyMore(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		bank := dingtalktest.New(dingtalktest.Options{Token: "the-bank's-robot"})
		w.routes = map[string]*dingtalktest.Robot{"bank.test": bank}
		dir := filepath.Join(w.dir, "robots", "bank")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("url", "http://bank.test/?access_token=the-bank%27s-robot")
		n := w.start()
		w.pass(6*lookEvery + time.Second) // the next look is nine seconds away, the message six
		n.Notify(trust(TrustLost))
		n.Notify(denied("db"))
		n.Notify(placed("web", 0, "node1"))
		theirs := denied("ledger")
		theirs.Namespace = "bank"
		n.Notify(theirs)
		w.pass(time.Second)
		write("namespaces", "bank")
		w.pass(time.Minute)
		heard := bank.Messages()
		if len(heard) != 1 || !strings.Contains(heard[0].Title, "refuses to create pods: bank/ledger") {
			t.Errorf("the robot heard %v, want the denial of its namespace alone", heard)
		}
		n.expect(t, map[string]float64{"queue_length": 0})
	})
}
