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
	if got, signature := c.requestURL(time.UnixMilli(1700000000000)); got != wantURL || signature != want {
		t.Errorf("address = %s, signature %s, want %s, %s", got, signature, wantURL, want)
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
			if address, _ := got.requestURL(time.Now()); address != c.want {
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
		_, err := readCredentials(files{url: file, secret: filepath.Join(dir, "none")}, false)
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "very secret") {
			t.Errorf("%s: error %v, want one that names the file and not its content", name, err)
		}
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
		"an untrusted certificate":          {tlsServer.URL + query, false, "", "intercepts TLS"},
		"a closed port":                     {"https://127.0.0.1:1" + query, false, "", "refused"},
		"the proxy of the environment":      {"http://robot.test" + query, true, plainServer.URL, ""},
		"a proxy that cannot be reached":    {"http://robot.test" + query, true, "http://user:passw0rd@127.0.0.1:1", "refused"},
		"a proxy that refuses the CONNECT":  {"https://robot.test" + query, false, plainServer.URL, "intercepts TLS"},
		"TLS spoken to a server without it": {strings.Replace(plainServer.URL, "http:", "https:", 1) + query, false, "", "intercepts TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", c.proxy)
			t.Setenv("HTTPS_PROXY", c.proxy)
			t.Setenv("NO_PROXY", "")
			w := &fixture{t: t, dir: t.TempDir()}
			w.credentials(c.address, testSecret)
			n, err := New(Options{URLFile: filepath.Join(w.dir, "url"), SecretFile: filepath.Join(w.dir, "secret"), RobotsDir: w.dir + "/robots", AllowHTTP: c.allowHTTP})
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
	w := &fixture{t: t, dir: t.TempDir()}
	w.credentials(server.URL+"?access_token=abcdefgh", "")
	n, err := New(Options{URLFile: filepath.Join(w.dir, "url"), SecretFile: filepath.Join(w.dir, "secret"), RobotsDir: w.dir + "/robots", AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Test(t.Context()); err == nil || asked {
		t.Errorf("error %v, followed %v, want an error and no call elsewhere", err, asked)
	}
}
