package alert

import (
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestA10ASecondCauseIsLoggedAndTLSHasItsOwnAdvice(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		causes := []error{
			errors.New("dial tcp 10.0.0.1:443: connect: connection refused"),
			errors.New("dial tcp 10.0.0.2:443: connect: connection refused"), // the same: only numbers differ
			errors.New("lookup oapi.dingtalk.com: no such host"),
			&tls.CertificateVerificationError{Err: errors.New("x509: certificate signed by unknown authority")},
		}
		n := w.start()
		n.Notify(denied("web"))
		for _, cause := range causes {
			w.listen.failWith(cause)
			w.pass(3 * time.Minute)
		}
		if got := w.logs.count("alerts cannot be sent"); got != 3 {
			t.Errorf("logged %d times, want once for each cause:\n%s", got, w.logs)
		}
		for _, want := range []string{"connection refused", "no such host", "intercepts TLS"} {
			if w.logs.count(want) != 1 {
				t.Errorf("logged %d times: %q", w.logs.count(want), want)
			}
		}
		if n.metric(t, `failed_total{reason="tls"}`) == 0 {
			t.Error("no failure was counted as tls")
		}
	})
}

func TestA11AnAddressInPlaceOfAFileIsRefusedAndNotRepeated(t *testing.T) {
	const token = "0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, o := range map[string]Options{
		"the address as the URL file":       {URLFile: "https://oapi.dingtalk.com/robot/send?access_token=" + token},
		"the bare token as the URL file":    {URLFile: token},
		"the secret as the secret file":     {SecretFile: "SEC" + token},
		"the address as the secret file":    {SecretFile: "https://oapi.dingtalk.com/robot/send?access_token=" + token},
		"the address as the robots' folder": {RobotsDir: "https://oapi.dingtalk.com/robot/send?access_token=" + token},
	} {
		err := o.Validate()
		if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "must be the path of a") {
			t.Errorf("%s: error %v, want a refusal that does not repeat it", name, err)
		}
	}
	for _, file := range []string{"", "url", "/etc/sts-webhook/dingtalk/url", "./SECRETS/url"} {
		if err := (Options{URLFile: file, SecretFile: file}).Validate(); err != nil {
			t.Errorf("file %q is refused: %v", file, err)
		}
	}
}

func TestA11AnEchoedSignatureIsHidden(t *testing.T) {
	simulate(t, func(t *testing.T, w *fixture) {
		n := w.start()
		w.robot.Behave(dingtalktest.Echo)
		n.Notify(denied("web"))
		w.pass(defaultWindow)
		signature := sign(time.Now().UnixMilli(), testSecret)
		log := w.logs.String()
		if !strings.Contains(log, "bad address") {
			t.Fatalf("the echo was not logged: %s", log)
		}
		for _, form := range []string{signature, url.QueryEscape(signature), signature[:20]} {
			if strings.Contains(log, form) {
				t.Errorf("the signature stands in the log: %s", log)
			}
		}
		w.hidesCredentials(log)
	})
}

func TestA12WhatIsSeenOfTheFilesIsLoggedAtStartAndAtEachChange(t *testing.T) {
	const address = "http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F"
	simulate(t, func(t *testing.T, w *fixture) {
		w.credentials("what is this?", testSecret)
		w.start()
		for _, step := range []struct {
			url, secret string
			want        string // the last line of the log
		}{
			{"what is this?", testSecret, `"alerts cannot be sent"`},
			{address, testSecret, `"alerts are on"`},
			{address, "", `"signed":false`},
			{"", "", `"alerts are off"`},
			{address, testSecret, `"signed":true`},
		} {
			w.credentials(step.url, step.secret)
			before := w.logs.count("\n")
			w.pass(3 * lookEvery)
			lines := strings.Split(strings.TrimSpace(w.logs.String()), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, step.want) {
				t.Errorf("logged last: %s, want %s", last, step.want)
			}
			if got := len(lines) - before; before > 1 && got != 1 {
				t.Errorf("%d lines for one change, want one:\n%s", got, w.logs)
			}
		}
		w.hidesCredentials(w.logs.String())
	})
}

func TestA12TheTestMessageSaysWhetherItWasSigned(t *testing.T) {
	for secret, want := range map[string]string{testSecret: "was signed", "": "was not signed"} {
		simulate(t, func(t *testing.T, w *fixture) {
			w.route(dingtalktest.New(dingtalktest.Options{Token: testToken, Secret: secret}))
			w.credentials("http://robot.test/robot/send?access_token=tok3n-0123456789abcdef%2B%2F", secret)
			n, err := New(w.options)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := n.Test(t.Context())
			if err != nil || !strings.Contains(answer, want) || !strings.Contains(w.sent(), want) {
				t.Errorf("answer %q, message %q, error %v, want %q in both", answer, w.sent(), err, want)
			}
		})
	}
}
