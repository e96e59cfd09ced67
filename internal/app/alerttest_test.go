package app

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/alert/dingtalktest"
)

const (
	token  = "0123456789abcdef-the-token"
	secret = "SEC0123456789abcdef"
)

// alertTestCommand runs the command against a robot on loopback with these
// credentials in files; an empty one leaves its file out.
func alertTestCommand(t *testing.T, url, secret string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"alert-test", "--dingtalk-allow-http", "--alert-language=en", "--dingtalk-robots-dir=" + filepath.Join(dir, "robots")}
	for name, text := range map[string]string{"url": url, "secret": secret} {
		file := filepath.Join(dir, name)
		args = append(args, "--dingtalk-"+name+"-file="+file)
		if text == "" {
			continue
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, err bytes.Buffer
	code = Run(t.Context(), append(args, flags...), &out, &err)
	return code, out.String(), err.String()
}

func TestAlertTestTellsSuccessByItsExitCodeAndTheSettingByItsSentence(t *testing.T) {
	const success = "DingTalk accepted the test message: the robot's address is right, and the call was signed.\n"
	for name, test := range map[string]struct {
		secret    string // of the mounted Secret
		token     string
		keyword   string
		behaviour dingtalktest.Behaviour
		off       bool
		code      int
		says      string // on stdout for success, on stderr otherwise
	}{
		"all is right":                {secret: secret, token: token, code: exitOK, says: success},
		"the keyword is ours":         {secret: secret, token: token, keyword: "sts-webhook", code: exitOK, says: success},
		"another signing secret":      {secret: "SECother", token: token, code: exitFailure, says: `into key "secret" of Secret sts-webhook-dingtalk`},
		"no signing secret":           {token: token, code: exitFailure, says: `text of the robot's "additional signature" setting into key "secret" of Secret sts-webhook-dingtalk`},
		"another keyword":             {secret: secret, token: token, keyword: "alarm", code: exitFailure, says: `set the robot's custom keyword to "sts-webhook"`},
		"an unknown token":            {secret: secret, token: "another-token", code: exitFailure, says: `copy the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`},
		"a robot that is silent":      {secret: secret, token: token, behaviour: dingtalktest.Errcode(130101), code: exitFailure, says: "is silent for some minutes"},
		"a server in trouble":         {secret: secret, token: token, behaviour: dingtalktest.Status(500), code: exitFailure, says: "the other side is in trouble"},
		"a page instead of an answer": {secret: secret, token: token, behaviour: dingtalktest.HTML, code: exitFailure, says: "the answer was not DingTalk's"},
		"an answer quoting the token": {secret: secret, token: token, behaviour: dingtalktest.Echo, code: exitFailure, says: "<redacted>"},
		"no Secret":                   {off: true, code: exitFailure, says: "no robot is configured"},
	} {
		t.Run(name, func(t *testing.T) {
			robot := dingtalktest.New(dingtalktest.Options{Token: token, Secret: secret, Keyword: test.keyword})
			if test.behaviour != "" {
				robot.Behave(test.behaviour)
			}
			server := httptest.NewServer(robot)
			defer server.Close()
			url := server.URL + "/robot/send?access_token=" + test.token
			if test.off {
				url = ""
			}
			code, stdout, stderr := alertTestCommand(t, url, test.secret, "--cluster-name=prod")
			said, silent := stdout, stderr
			if test.code != exitOK {
				said, silent = stderr, stdout
			}
			if code != test.code || !strings.Contains(said, test.says) || silent != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", code, stdout, stderr, test.code, test.says)
			}
			if all := stdout + stderr; strings.Contains(all, test.token) && test.token != "" || strings.Contains(all, secret) {
				t.Errorf("the token or the signing secret is printed: %s", all)
			}
			if n := strings.Count(said, "\n"); n != 1 {
				t.Errorf("%d lines, want one: %q", n, said)
			}
			messages := robot.Messages()
			if sent := test.code == exitOK; sent != (len(messages) == 1) {
				t.Fatalf("%d messages", len(messages))
			}
			if len(messages) == 1 && messages[0].Title != "[prod] sts-webhook test message" {
				t.Errorf("title: got %q", messages[0].Title)
			}
		})
	}
}

func TestAlertTestGivesUpInTime(t *testing.T) {
	robot := dingtalktest.New(dingtalktest.Options{Token: token})
	robot.Behave(dingtalktest.Hang)
	server := httptest.NewServer(robot)
	defer server.Close()
	code, stdout, stderr := alertTestCommand(t, server.URL+"/?access_token="+token, "", "--timeout=50ms")
	if code != exitFailure || stdout != "" || !strings.Contains(stderr, "the robot's host was not reached in time") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want %d and advice about the network", code, stdout, stderr, exitFailure)
	}
}

func TestAMistakeInAnAlertFlagIsExplainedBeforeAnythingIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		flags []string
		want  []string // whole lines
	}{
		"an unknown event":            {[]string{"--alert-on=denied,started"}, []string{"--alert-on=started: must be one of [trust certificate clock denied placed gate lifecycle]"}},
		"an unknown language":         {[]string{"--alert-language=fr"}, []string{"--alert-language=fr: must be zh or en"}},
		"an unknown message type":     {[]string{"--dingtalk-message-type=card"}, []string{"--dingtalk-message-type=card: must be markdown or text"}},
		"a window below its bound":    {[]string{"--alert-window=10ms"}, []string{"--alert-window=10ms: must be from 1s to 10m"}},
		"a repeat above its bound":    {[]string{"--alert-repeat-after=25h"}, []string{"--alert-repeat-after=25h0m0s: must be from 1m to 24h"}},
		"a mobile that is none":       {[]string{"--dingtalk-at-mobiles=13800000000,bob"}, []string{"--dingtalk-at-mobiles=bob: must be 5 to 20 digits, optionally with + and -"}},
		"a cluster name that is long": {[]string{"--cluster-name=" + strings.Repeat("x", 65)}, []string{"--cluster-name=" + strings.Repeat("x", 65) + ": must be at most 64 characters"}},
		"a rate of nothing":           {[]string{"--alert-rate=0"}, []string{"--alert-rate=0: must be from 1 to 20"}},
		"an unknown time zone":        {[]string{"--alert-timezone=Moon"}, []string{"--alert-timezone=Moon: must be the IANA name of a time zone, such as Asia/Shanghai or UTC"}},
		"several mistakes at once": {[]string{"--alert-language=fr", "--alert-window=1h"},
			[]string{"--alert-language=fr: must be zh or en", "--alert-window=1h0m0s: must be from 1s to 10m"}},
	} {
		for _, command := range []string{"serve", "alert-test"} {
			t.Run(name+" in "+command, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				args := append([]string{command}, test.flags...)
				if command == "serve" {
					args = append(args, "--namespace=custom-system")
				}
				code := Run(t.Context(), args, &stdout, &stderr)
				want := strings.Join(append(test.want, "see: sts-webhook "+command+" --help\n"), "\n")
				if code != exitUsage || stderr.String() != want || stdout.Len() > 0 {
					t.Errorf("exit code %d, stderr:\n%s\nwant %d and:\n%s", code, stderr.String(), exitUsage, want)
				}
			})
		}
	}
}

func TestBothCommandsTakeTheSameAlertFlags(t *testing.T) {
	help := func(command string) map[string]string {
		var stdout, stderr bytes.Buffer
		if code := Run(t.Context(), []string{command, "--help"}, &stdout, &stderr); code != exitOK {
			t.Fatalf("%s --help: exit code %d: %s", command, code, stderr.String())
		}
		_, flags, _ := strings.Cut(stdout.String(), "Flags of "+command+":\n")
		found := map[string]string{}
		for _, entry := range strings.Split(flags, "      --")[1:] {
			name, _, _ := strings.Cut(entry, " ")
			entry, _, _ = strings.Cut(entry, "\n\n") // the next group's title
			if strings.HasPrefix(name, "dingtalk-") || strings.HasPrefix(name, "alert-") || name == "cluster-name" {
				found[name] = strings.Join(strings.Fields(entry), " ")
			}
		}
		return found
	}
	serve, test := help("serve"), help("alert-test")
	if len(serve) != 15 {
		t.Errorf("%d alert flags, want 15: %v", len(serve), serve)
	}
	for name, text := range serve {
		if test[name] != text {
			t.Errorf("--%s: serve says %q, alert-test says %q", name, text, test[name])
		}
	}
}

func TestAlertOnSelectsTheEvents(t *testing.T) {
	for name, test := range map[string]struct {
		flags []string
		want  []alert.Kind
	}{
		"by default all but starts and stops": {nil, []alert.Kind{alert.Denied, alert.Certificate, alert.Trust, alert.Clock, alert.Placed, alert.Gate}},
		"one":                                 {[]string{"--alert-on=denied"}, []alert.Kind{alert.Denied}},
		"two":                                 {[]string{"--alert-on=trust,lifecycle"}, []alert.Kind{alert.Trust, alert.Lifecycle}},
	} {
		t.Run(name, func(t *testing.T) {
			var o alertOptions
			var groups flagGroups
			o.addFlags(&groups)
			if err := errors.Join(groups.all("").Parse(test.flags), o.validate()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(o.AlertOn, test.want) {
				t.Errorf("got %v, want %v", o.AlertOn, test.want)
			}
		})
	}
}
