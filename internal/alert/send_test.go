package alert

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestSignatureVector(t *testing.T) {
	const want = "aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g="
	if got := sign(1700000000000, "SECtest"); got != want {
		t.Errorf("sign = %s, want %s", got, want)
	}
	c, err := parseRobot("0123456789abcdef", false)
	if err != nil {
		t.Fatal(err)
	}
	c.secret = newSecret("SECtest")
	wantURL := "https://oapi.dingtalk.com/robot/send?access_token=0123456789abcdef&timestamp=1700000000000&sign=" + url.QueryEscape(want)
	if got := c.requestURL(time.UnixMilli(1700000000000)); got != wantURL {
		t.Errorf("address = %s, want %s", got, wantURL)
	}
}

func TestRobotAddress(t *testing.T) {
	for name, c := range map[string]struct {
		text      string
		allowHTTP bool
		want      string // the address of an unsigned call; empty: refused
	}{
		"a full URL is taken as it is":               {"https://oapi.dingtalk.com/robot/send?access_token=abcdefgh", false, "https://oapi.dingtalk.com/robot/send?access_token=abcdefgh"},
		"a bare token gets the default address":      {"abcdefgh", false, "https://oapi.dingtalk.com/robot/send?access_token=abcdefgh"},
		"a relay may have a path and a query":        {"https://relay.test:8443/x?a=1&access_token=abcdefgh", false, "https://relay.test:8443/x?a=1&access_token=abcdefgh"},
		"a stale signature is removed":               {"https://x.test/s?access_token=abcdefgh&sign=s&timestamp=1", false, "https://x.test/s?access_token=abcdefgh"},
		"http is refused":                            {"http://oapi.dingtalk.com/robot/send?access_token=abcdefgh", false, ""},
		"http is taken where it is allowed":          {"http://relay.test/s?access_token=abcdefgh", true, "http://relay.test/s?access_token=abcdefgh"},
		"another scheme is refused":                  {"ftp://relay.test/s?access_token=abcdefgh", true, ""},
		"a URL without a token is refused":           {"https://oapi.dingtalk.com/robot/send", false, ""},
		"a URL without a host is refused":            {"https:///robot/send?access_token=abcdefgh", false, ""},
		"user information is refused":                {"https://u:p@relay.test/s?access_token=abcdefgh", false, ""},
		"a fragment is refused":                      {"https://relay.test/s?access_token=abcdefgh#f", false, ""},
		"what no URL can be is refused":              {"https://relay.test/%zz?access_token=abcdefgh", false, ""},
		"a broken query is refused":                  {"https://relay.test/s?access_token=abcdefgh&a=%zz", false, ""},
		"a token with a space is refused":            {"abcd efgh", false, ""},
		"a too short token is refused":               {"abc", false, ""},
		"two lines are refused":                      {"abcdefgh\nabcdefgh", false, ""},
		"a token with a sign of a URL is no token":   {"abcdefgh&x=1", false, ""},
		"an address without its scheme is no token":  {"oapi.dingtalk.com/robot/send?access_token=abcdefgh", false, ""},
		"a token of 512 characters is still a token": {strings.Repeat("a", 512), false, defaultEndpoint + "?access_token=" + strings.Repeat("a", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRobot(c.text, c.allowHTTP)
			if (err == nil) != (c.want != "") {
				t.Fatalf("error = %v, want one: %v", err, c.want == "")
			}
			if err != nil {
				if strings.Contains(err.Error(), "abcdefgh") {
					t.Errorf("the error %q holds the token", err)
				}
				return
			}
			if address := got.requestURL(time.Now()); address != c.want {
				t.Errorf("address = %s, want %s", address, c.want)
			}
		})
	}
}

func TestUnusableCredentialFilesAreAFailureThatNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "url")
	for name, prepare := range map[string]func() error{
		"longer than the bound": func() error { return os.WriteFile(file, make([]byte, maxCredentialBytes+1), 0o600) },
		"not an address":        func() error { return os.WriteFile(file, []byte("very secret text"), 0o600) },
		"a directory":           func() error { return os.Mkdir(file, 0o700) },
	} {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		_, err := readCredentials(file, filepath.Join(dir, "none"), false)
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "very secret") {
			t.Errorf("%s: error %v, want one that names the file and not its content", name, err)
		}
	}
}

// TestEveryFailure sends a real digest against each trouble: what the notifier
// does with it, that the events survive where they should, and that neither the
// token nor the secret appears anywhere.
func TestEveryFailure(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour dingtalktest.Behaviour
		reason    string
		calls     int  // within two minutes
		kept      bool // told once the robot is well
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
		"too long, 460101":    {dingtalktest.Errcode(460101), reasonTooLong, 2, false},
		"too long, 101002":    {dingtalktest.Errcode(101002), reasonTooLong, 2, false},
		"our bug, 40035":      {dingtalktest.Errcode(40035), reasonBug, 1, false},
		"our bug, 43002":      {dingtalktest.Errcode(43002), reasonBug, 1, false},
		"our bug, 43004":      {dingtalktest.Errcode(43004), reasonBug, 1, false},
		"our bug, 400105":     {dingtalktest.Errcode(400105), reasonBug, 1, false},
		"unknown errcode":     {dingtalktest.Errcode(987654), reasonUnknown, 1, false},
		"hang":                {dingtalktest.Hang, reasonNetwork, 5, true},
		"slow loris":          {dingtalktest.SlowLoris, reasonNetwork, 5, true},
		"reset":               {dingtalktest.Reset, reasonNetwork, 8, true},
		"a page of HTML":      {dingtalktest.HTML, reasonAnswer, 8, true},
		"an endless body":     {dingtalktest.Huge, reasonAnswer, 8, true},
		"a redirect":          {dingtalktest.Redirect, reasonRedirect, 2, true},
		"500":                 {dingtalktest.Status(500), reasonServer, 8, true},
		"429":                 {dingtalktest.Status(429), reasonServer, 8, true},
		"404":                 {dingtalktest.Status(404), reasonServer, 8, true},
		"an echo of the call": {dingtalktest.Echo, reasonTimestamp, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				n := w.start()
				w.robot.Behave(c.behaviour)
				n.Notify(denied("web"))
				w.pass(2 * time.Minute)
				if calls := w.robot.Stats().Calls; calls != c.calls {
					t.Errorf("%d calls in two minutes, want %d", calls, c.calls)
				}
				failed := `failed_total{reason="` + c.reason + `"}`
				if got := n.metric(t, failed); got != float64(c.calls) && got != float64(c.calls-1) { // one may be in flight
					t.Errorf("%s = %v, want %d", failed, got, c.calls)
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
func (w *world) hidesCredentials(texts ...string) {
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
			Now: func() time.Time { return time.Now().Add(61 * time.Minute) }}, want: "clock (NTP)"},
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
			inWorld(t, func(t *testing.T, w *world) {
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

// TestOnARealNetwork uses sockets and TLS, where the texts of errors come from
// the operating system and the libraries.
func TestOnARealNetwork(t *testing.T) {
	robot := dingtalktest.New(dingtalktest.Options{Token: testToken, Secret: testSecret})
	plainServer := httptest.NewServer(robot)
	defer plainServer.Close()
	tlsServer := httptest.NewUnstartedServer(robot)
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is expected
	tlsServer.StartTLS()
	defer tlsServer.Close()
	query := "/robot/send?access_token=" + url.QueryEscape(testToken)
	for name, c := range map[string]struct {
		address   string
		allowHTTP bool
		proxy     string
		want      string // in the error; empty: success
	}{
		"http where it is allowed":          {plainServer.URL + query, true, "", ""},
		"http where it is not":              {plainServer.URL + query, false, "", "https is required"},
		"an untrusted certificate":          {tlsServer.URL + query, false, "", "certificate"},
		"a closed port":                     {"https://127.0.0.1:1" + query, false, "", "refused"},
		"the proxy of the environment":      {"http://robot.test" + query, true, plainServer.URL, ""},
		"a proxy that cannot be reached":    {"http://robot.test" + query, true, "http://user:passw0rd@127.0.0.1:1", "refused"},
		"a proxy that refuses the CONNECT":  {"https://robot.test" + query, false, plainServer.URL, "network"},
		"TLS spoken to a server without it": {strings.Replace(plainServer.URL, "http:", "https:", 1) + query, false, "", "network"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", c.proxy)
			t.Setenv("HTTPS_PROXY", c.proxy)
			t.Setenv("NO_PROXY", "")
			w := &world{t: t, dir: t.TempDir()}
			w.credentials(c.address, testSecret)
			n, err := New(Options{URLFile: filepath.Join(w.dir, "url"), SecretFile: filepath.Join(w.dir, "secret"), AllowHTTP: c.allowHTTP})
			if err != nil {
				t.Fatal(err)
			}
			_, err = n.Test(t.Context())
			if c.want == "" {
				if err != nil {
					t.Errorf("error %v, want success", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q in it", err, c.want)
			}
			w.hidesCredentials(err.Error())
			if strings.Contains(err.Error(), "passw0rd") {
				t.Errorf("the proxy's password stands in %v", err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	w := &world{t: t, dir: t.TempDir()}
	w.credentials(server.URL+"?access_token=abcdefgh", "")
	n, err := New(Options{URLFile: filepath.Join(w.dir, "url"), SecretFile: filepath.Join(w.dir, "secret"), AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Test(t.Context()); err == nil || asked {
		t.Errorf("error %v, followed %v, want an error and no call elsewhere", err, asked)
	}
}
