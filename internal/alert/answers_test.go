package alert

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// TestEveryFailure sends a real digest against each trouble: what the notifier
// does with it, that the events survive where they should, and that neither the
// token nor the secret appears anywhere.
func TestEveryFailure(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour dingtalktest.Behaviour
		reason    string
		calls     int  // within two minutes
		kept      bool // reported once the robot is well
	}{
		"busy":                {dingtalktest.Errcode(-1), reasonServer, 8, true},
		"throttled":           {dingtalktest.Errcode(130101), reasonThrottled, 1, true},
		"throttled, 410100":   {dingtalktest.Errcode(410100), reasonThrottled, 1, true},
		"throttled, 90030":    {dingtalktest.Errcode(90030), reasonThrottled, 1, true},
		"security":            {dingtalktest.Errcode(310000), reasonSignature, 2, true},
		"token 300001":        {dingtalktest.Errcode(300001), reasonToken, 2, true},
		"token 300005":        {dingtalktest.Errcode(300005), reasonToken, 2, true},
		"token 400101":        {dingtalktest.Errcode(400101), reasonToken, 2, true},
		"group":               {dingtalktest.Errcode(400013), reasonGroup, 2, true},
		"robot stopped":       {dingtalktest.Errcode(400102), reasonDisabled, 2, true},
		"robot gone":          {dingtalktest.Errcode(400106), reasonDisabled, 2, true},
		"content":             {dingtalktest.Errcode(430101), reasonContent, 1, false},
		"too long, 460101":    {dingtalktest.Errcode(460101), reasonTooLong, 1, false},
		"too long, 101002":    {dingtalktest.Errcode(101002), reasonTooLong, 1, false},
		"our bug, 40035":      {dingtalktest.Errcode(40035), reasonBug, 1, false},
		"our bug, 43002":      {dingtalktest.Errcode(43002), reasonBug, 1, false},
		"our bug, 43004":      {dingtalktest.Errcode(43004), reasonBug, 1, false},
		"our bug, 400105":     {dingtalktest.Errcode(400105), reasonBug, 1, false},
		"unknown errcode":     {dingtalktest.Errcode(987654), reasonUnknown, 2, true},
		"hang":                {dingtalktest.Hang, reasonNetwork, 5, true},
		"slow loris":          {dingtalktest.SlowLoris, reasonNetwork, 5, true},
		"reset":               {dingtalktest.Reset, reasonNetwork, 8, true},
		"a page of HTML":      {dingtalktest.HTML, reasonAnswer, 8, true},
		"an endless body":     {dingtalktest.Huge, reasonAnswer, 8, true},
		"a redirect":          {dingtalktest.Redirect, reasonRedirect, 2, true},
		"500":                 {dingtalktest.Status(500), reasonServer, 8, true},
		"429":                 {dingtalktest.Status(429), reasonThrottled, 1, true},
		"a ban":               {dingtalktest.Punish, reasonThrottled, 1, true},
		"404":                 {dingtalktest.Status(404), reasonServer, 8, true},
		"an echo of the call": {dingtalktest.Echo, reasonTimestamp, 4, true}, // each attempt is signed again by the answer's date
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *fixture) {
				n := w.start()
				w.robot.Behave(c.behaviour)
				n.Notify(denied("web"))
				w.pass(2 * time.Minute)
				if calls := w.robot.Stats().Calls; calls != c.calls {
					t.Errorf("%d calls in two minutes, want %d", calls, c.calls)
				}
				failed := `failed_total{reason="` + c.reason + `"}`
				attempts := float64(c.calls)
				if c.behaviour == dingtalktest.Echo {
					attempts /= 2
				}
				if got := n.metric(t, failed); got != attempts && got != attempts-1 { // one may be in flight
					t.Errorf("%s = %v, want %v", failed, got, attempts)
				}
				if got := w.logs.count("alerts cannot be sent"); got != 1 {
					t.Errorf("logged %d times, want once", got)
				}
				w.robot.Behave(dingtalktest.OK)
				w.pass(20 * time.Minute)
				kept, dropped := 1, 0.0
				if !c.kept {
					kept, dropped = 0, 1
				}
				if got := len(w.robot.Messages()); got != kept {
					t.Errorf("%d messages after the trouble, want %d", got, kept)
				}
				n.expect(t, map[string]float64{"dropped_total": dropped, "queue_length": 0})
				w.hidesCredentials(w.logs.String(), n.exposition(t))
			})
		})
	}
}

// hidesCredentials fails if a text holds the token or the secret, in any coding.
func (w *fixture) hidesCredentials(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if len(text) == 0 {
			w.t.Error("nothing to look at")
		}
		for _, hidden := range []string{testToken, testSecret} {
			for _, form := range []string{hidden, url.QueryEscape(hidden), url.PathEscape(hidden), hidden[:12]} {
				if strings.Contains(text, form) {
					w.t.Errorf("%q stands in: %s", form, text)
				}
			}
		}
	}
}

// TestAlertTestExplainsTheAnswer holds one row per answer: the setting to change
// must be named, in one sentence.
func TestAlertTestExplainsTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		robot     dingtalktest.Options
		behaviour dingtalktest.Behaviour
		url       string // of the file; empty: the robot's
		want      string // in the error; empty: success
	}{
		"all is well":              {},
		"wrong signature":          {robot: dingtalktest.Options{Token: testToken, Secret: "SECother"}, want: `key "secret" of Secret sts-webhook-dingtalk`},
		"keyword missing":          {robot: dingtalktest.Options{Token: testToken, Keyword: "deploy"}, want: `custom keyword to "sts-webhook"`},
		"keyword in every message": {robot: dingtalktest.Options{Token: testToken, Keyword: "sts-webhook"}},
		"token unknown":            {robot: dingtalktest.Options{Token: "other"}, want: `key "url" of Secret sts-webhook-dingtalk`},
		"clock an hour off": {robot: dingtalktest.Options{Token: testToken, Secret: testSecret,
			Now: func() time.Time { return time.Now().Add(61 * time.Minute) }}}, // the answer tells the right time
		"throttled":       {behaviour: dingtalktest.Errcode(130101), want: "20 messages in a minute"},
		"group disbanded": {behaviour: dingtalktest.Errcode(400013), want: "group does not exist"},
		"robot stopped":   {behaviour: dingtalktest.Errcode(400102), want: "switch it on"},
		"unknown errcode": {behaviour: dingtalktest.Errcode(5), want: "errcode 5"},
		"redirect":        {behaviour: dingtalktest.Redirect, want: "redirect"},
		"server trouble":  {behaviour: dingtalktest.Status(500), want: "HTTP status 500"},
		"no answer":       {behaviour: dingtalktest.Hang, want: "NetworkPolicy"},
		"not DingTalk":    {behaviour: dingtalktest.HTML, want: "no proxy answers in its place"},
		"no robot":        {url: " ", want: "no robot is configured"},
		"not an address":  {url: "what is this?", want: "mounted credentials cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *fixture) {
				if c.robot.Token != "" {
					w.route(dingtalktest.New(c.robot))
				}
				if c.url != "" {
					w.credentials(c.url, testSecret)
				}
				if c.behaviour != "" {
					w.robot.Behave(c.behaviour)
				}
				n, err := New(w.options)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := n.Test(t.Context())
				if c.want == "" {
					if err != nil || !strings.Contains(answer, "accepted") || len(w.robot.Messages()) != 1 {
						t.Errorf("answer %q, error %v, want success and one message", answer, err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("error %v, want one line with %q", err, c.want)
				}
				w.hidesCredentials(err.Error())
			})
		})
	}
}

func TestSecurityAnswersAreToldApart(t *testing.T) {
	for message, want := range map[string]string{
		"keywords not in content, more: [https://ding-doc.dingtalk.com]": reasonKeyword,
		"description:关键词不匹配;solution:请联系群管理员查看此机器人的关键词，并在发送的信息中包含此关键词;":  reasonKeyword,
		"sign not match, more: [https://ding-doc.dingtalk.com]":          reasonSignature,
		"description:机器人发送签名不匹配；solution:请确认签名和生成签名的时间戳必须都放在调用的网址中":      reasonSignature,
		"invalid timestamp, more: [https://ding-doc.dingtalk.com]":       reasonTimestamp,
		"description:时间戳无效":                                                   reasonTimestamp,
		"ip 10.1.2.3 not in whitelist, more: [https://ding-doc.dingtalk.com]": reasonIP,
		"description:来源IP地址不在白名单":                                             reasonIP,
		"":              reasonSecurity,
		"something new": reasonSecurity,
	} {
		if got := reasonOfAnswer(310000, message); got != want {
			t.Errorf("%q is %s, want %s", message, got, want)
		}
	}
}

func TestEveryReasonHasAClassAndAnExplanation(t *testing.T) {
	for code, reason := range reasonOfCode {
		if failures[reason].advice == "" {
			t.Errorf("errcode %d: reason %q has no explanation", code, reason)
		}
	}
	seen := map[string]string{}
	for reason, f := range failures {
		if f.advice == "" || strings.Contains(f.advice, "\n") || seen[f.advice] != "" {
			t.Errorf("%s: explanation %q is empty, of several lines or the one of %s", reason, f.advice, seen[f.advice])
		}
		seen[f.advice] = reason
	}
}
