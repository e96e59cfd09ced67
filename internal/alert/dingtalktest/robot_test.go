package dingtalktest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token  = "token"
	secret = "SECtest"
	good   = `{"msgtype":"markdown","markdown":{"title":"t","text":"hello @138 @boss"},"at":{"atMobiles":["138","139"],"atUserIds":["boss","other"],"isAtAll":false}}`
)

// clock is set by tests.
type clock struct{ now time.Time }

func newRobot(o Options) (*Robot, *clock) {
	c := &clock{now: time.UnixMilli(1_700_000_000_000)}
	o.Token, o.Now = token, func() time.Time { return c.now }
	return New(o), c
}

// call is one request, good unless changed.
type call struct {
	method, token, media, body string
	timestamp, signature       string
}

func (c *clock) call() call {
	out := call{method: http.MethodPost, token: token, media: "application/json; charset=utf-8", body: good}
	out.sign(c.now)
	return out
}

func (c *call) sign(at time.Time) {
	c.timestamp = strconv.FormatInt(at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(c.timestamp + "\n" + secret))
	c.signature = base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// send returns the errcode.
func (c call) send(t *testing.T, robot http.Handler) int {
	t.Helper()
	query := url.Values{"access_token": {c.token}, "timestamp": {c.timestamp}, "sign": {c.signature}}
	request := httptest.NewRequest(c.method, "/robot/send?"+query.Encode(), strings.NewReader(c.body))
	request.Header.Set("Content-Type", c.media)
	w := httptest.NewRecorder()
	robot.ServeHTTP(w, request)
	var answer struct {
		Code *int   `json:"errcode"`
		Text string `json:"errmsg"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Code == nil || answer.Text == "" || w.Code != http.StatusOK {
		t.Fatalf("answer %d %q, want 200 with errcode and errmsg", w.Code, w.Body)
	}
	return *answer.Code
}

func TestTheRobotChecksWhatTheRealOneChecks(t *testing.T) {
	padded := func(size int) string { return strings.Replace(good, "hello", strings.Repeat("x", size-len(good)+5), 1) }
	for name, c := range map[string]struct {
		change func(*call, *clock)
		want   int
	}{
		"a good call":                     {func(*call, *clock) {}, 0},
		"a text message":                  {func(c *call, _ *clock) { c.body = `{"msgtype":"text","text":{"content":"x"}}` }, 0},
		"a body of exactly the limit":     {func(c *call, _ *clock) { c.body = padded(MaxBodyBytes) }, 0},
		"a timestamp of an hour ago":      {func(c *call, k *clock) { c.sign(k.now.Add(-time.Hour)) }, 0},
		"GET":                             {func(c *call, _ *clock) { c.method = http.MethodGet }, 43002},
		"another token":                   {func(c *call, _ *clock) { c.token = "other" }, 300005},
		"no token":                        {func(c *call, _ *clock) { c.token = "" }, 300005},
		"a form":                          {func(c *call, _ *clock) { c.media = "application/x-www-form-urlencoded" }, 43004},
		"a timestamp more than an hour":   {func(c *call, k *clock) { c.sign(k.now.Add(-time.Hour - time.Millisecond)) }, 310000},
		"a timestamp of the future":       {func(c *call, k *clock) { c.sign(k.now.Add(61 * time.Minute)) }, 310000},
		"no timestamp":                    {func(c *call, _ *clock) { c.timestamp = "" }, 310000},
		"no signature":                    {func(c *call, _ *clock) { c.signature = "" }, 310000},
		"a signature for another moment":  {func(c *call, _ *clock) { c.timestamp += "1"; c.timestamp = c.timestamp[1:] }, 310000},
		"a signature that was not coded":  {func(c *call, _ *clock) { c.signature = strings.ReplaceAll(c.signature, "=", " ") }, 310000},
		"one byte more than the limit":    {func(c *call, _ *clock) { c.body = padded(MaxBodyBytes + 1) }, 460101},
		"no JSON":                         {func(c *call, _ *clock) { c.body = "x" }, 40035},
		"trailing data":                   {func(c *call, _ *clock) { c.body += "{}" }, 40035},
		"no UTF-8":                        {func(c *call, _ *clock) { c.body = strings.Replace(good, "hello", "\xff", 1) }, 40035},
		"an unknown field":                {func(c *call, _ *clock) { c.body = strings.Replace(good, "title", "tilte", 1) }, 40035},
		"an empty text":                   {func(c *call, _ *clock) { c.body = `{"msgtype":"text","text":{"content":""}}` }, 40035},
		"no title":                        {func(c *call, _ *clock) { c.body = strings.Replace(good, `"t"`, `""`, 1) }, 40035},
		"the part of another msgtype":     {func(c *call, _ *clock) { c.body = strings.Replace(good, `"markdown"`, `"text"`, 1) }, 40035},
		"a msgtype that is not supported": {func(c *call, _ *clock) { c.body = `{"msgtype":"link"}` }, 400105},
		"the keyword missing":             {func(c *call, _ *clock) { c.body = strings.Replace(good, "hello", "good bye", 1) }, 310000},
	} {
		t.Run(name, func(t *testing.T) {
			robot, k := newRobot(Options{Secret: secret, Keyword: map[bool]string{true: "hello"}[strings.HasPrefix(name, "the keyword")]})
			one := k.call()
			c.change(&one, k)
			if got := one.send(t, robot); got != c.want {
				t.Errorf("errcode %d, want %d", got, c.want)
			}
			accepted := 0
			if c.want == 0 {
				accepted = 1
			}
			if stats := robot.Stats(); len(robot.Messages()) != accepted || stats.Accepted != accepted || stats.Refused[c.want] != 1-accepted {
				t.Errorf("recorded %d messages, %+v", len(robot.Messages()), stats)
			}
		})
	}
}

func TestTwentyMessagesAMinuteThenTenMinutesOfSilence(t *testing.T) {
	robot, k := newRobot(Options{Secret: secret})
	send := func() int { return k.call().send(t, robot) }
	for i := range MaxPerWindow {
		if got := send(); got != 0 {
			t.Fatalf("message %d: errcode %d", i+1, got)
		}
	}
	k.now = k.now.Add(Window) // the first twenty have left the window
	for range MaxPerWindow {
		if got := send(); got != 0 {
			t.Fatalf("errcode %d in the next minute", got)
		}
		k.now = k.now.Add(time.Second)
	}
	if got := send(); got != 130101 {
		t.Fatalf("errcode %d for the 21st message within a minute, want 130101", got)
	}
	k.now = k.now.Add(Penalty - time.Millisecond)
	if got := send(); got != 130101 {
		t.Fatalf("errcode %d during the penalty, want 130101", got)
	}
	k.now = k.now.Add(time.Millisecond)
	if got := send(); got != 0 {
		t.Fatalf("errcode %d after the penalty, want 0", got)
	}
	if stats := robot.Stats(); stats.Bans != 1 || stats.MaxPerWindow != MaxPerWindow+1 || stats.Reused == 0 {
		t.Errorf("stats %+v, want one ban, 21 in the worst minute and the signatures of the same moment noticed", stats)
	}
}

func TestWhoIsReallyCalled(t *testing.T) {
	robot, k := newRobot(Options{})
	k.call().send(t, robot)
	if got := robot.Messages()[0].Called(); !slices.Equal(got, []string{"138", "boss"}) {
		t.Errorf("called %v, want those that stand in the text", got)
	}
}

// TestBehaviours asks a real server, so that what breaks the connection does.
func TestBehaviours(t *testing.T) {
	robot, k := newRobot(Options{})
	server := httptest.NewServer(robot)
	defer server.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for behaviour, want := range map[Behaviour]string{
		OK: `"errcode":0`, HTML: "<html>", Redirect: "302", Status(503): "503", Errcode(-1): `"errcode":-1`,
		Hang: "deadline", SlowLoris: "deadline", Huge: "endless", Reset: "reset by peer", Echo: "310000", Punish: `"punish":"deny"`,
	} {
		robot.Behave(behaviour)
		timeout := 30 * time.Second // a megabyte takes its time on a busy machine
		if want == "deadline" {
			timeout = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"?access_token="+token, strings.NewReader(k.call().body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		got := ""
		if response, err := client.Do(request); err != nil {
			got = err.Error()
		} else {
			var body bytes.Buffer
			got = response.Status
			if _, err := body.ReadFrom(http.MaxBytesReader(nil, response.Body, 1<<20)); err != nil {
				got += err.Error() + map[bool]string{true: " endless"}[body.Len() >= 1<<20]
			}
			got += body.String()
			_ = response.Body.Close()
		}
		cancel()
		if !strings.Contains(got, want) {
			t.Errorf("%s: %.200q, want %q", behaviour, got, want)
		}
	}
}

func TestPlacedPodsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]string // nil: an error
	}{
		"a list":              {"- shop/web 0, 2 → name=node1", map[string]string{"shop/web-0": "name=node1", "shop/web-2": "name=node1"}},
		"a list in Chinese":   {"- shop/web 0、2 → name=node1", map[string]string{"shop/web-0": "name=node1", "shop/web-2": "name=node1"}},
		"a range":             {"- shop/db-2 3–5 → name=node1", map[string]string{"shop/db-2-3": "name=node1", "shop/db-2-4": "name=node1", "shop/db-2-5": "name=node1"}},
		"parity":              {"x\n- a/b even 0–2 → k=v\ny", map[string]string{"a/b-0": "k=v", "a/b-2": "k=v"}},
		"parity in Chinese":   {"- a/b 奇数 1–3 → k=v", map[string]string{"a/b-1": "k=v", "a/b-3": "k=v"}},
		"a step":              {"- a/b 1–7 (step 3), 9 → k=v_1", map[string]string{"a/b-1": "k=v_1", "a/b-4": "k=v_1", "a/b-7": "k=v_1", "a/b-9": "k=v_1"}},
		"a step in Chinese":   {"- a/b 1–7（步长 3）、9 → k=v", map[string]string{"a/b-1": "k=v", "a/b-4": "k=v", "a/b-7": "k=v", "a/b-9": "k=v"}},
		"nothing":             {"### title\n- 18:00:02 trust lost", map[string]string{}},
		"the wrong parity":    {"- a/b even 1–3 → k=v", nil},
		"a range that misses": {"- a/b 1–6 (step 3) → k=v", nil},
		"the same pod twice":  {"- a/b 1, 1 → k=v", nil},
		"words":               {"- a/b x → k=v", nil},
		"no ordinals":         {"- ab → k=v", nil},
	} {
		got, err := Placed(c.text)
		if (err != nil) != (c.want == nil) || err == nil && !maps.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
}
