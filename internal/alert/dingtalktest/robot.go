// Package dingtalktest is a stand-in for DingTalk's custom robot, for tests with
// and without a cluster. It checks what the real one checks, as far as that is
// documented: method, media type, token, signature and its age, keyword, body
// size, the shape of the message and 20 messages a minute with 10 minutes of
// silence as the penalty. Like the real one it answers errors with HTTP 200.
package dingtalktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The real robot's rules.
const (
	MaxBodyBytes   = 20000
	MaxPerWindow   = 20
	Window         = time.Minute
	Penalty        = 10 * time.Minute
	MaxTimestampIn = time.Hour // distance of the timestamp from now, in both directions
)

// Options describe one robot. The zero value has an empty token, which no call can match.
type Options struct {
	Token    string           // access_token that calls must carry
	Secret   string           // key of the signature; empty: none is checked
	Keyword  string           // must be in the text; empty: none is asked for
	Improper string           // a word for which a message is refused with 430102; empty: none
	Now      func() time.Time // nil means time.Now
}

// Robot is the stand-in, an http.Handler for any path. It is safe for concurrent use.
type Robot struct {
	o Options

	mu         sync.Mutex // guards all below
	behaviour  Behaviour
	calls      []time.Time // of known senders inside the last window
	silent     time.Time   // end of the penalty
	messages   []Message
	signatures map[string]bool // that were seen
	stats      Stats
}

// Message is what the robot accepted.
type Message struct {
	At        time.Time
	Type      string
	Title     string // markdown only
	Text      string
	AtMobiles []string
	AtUserIDs []string
	AtAll     bool
	Bytes     int // of the body
}

// Stats count what happened since the start.
type Stats struct {
	Calls        int         // that reached the robot, whatever became of them
	Accepted     int         // answered with errcode 0
	Refused      map[int]int // by errcode
	Bans         int         // penalties that began
	MaxPerWindow int
	Reused       int // calls that repeated an earlier call's signature
}

// New returns a robot that behaves well.
func New(o Options) *Robot {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Robot{o: o, behaviour: OK, signatures: map[string]bool{}, stats: Stats{Refused: map[int]int{}}}
}

// Messages returns what was accepted, oldest first.
func (r *Robot) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Message(nil), r.messages...)
}

// Stats returns the counts.
func (r *Robot) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.stats
	out.Refused = map[int]int{}
	for code, n := range r.stats.Refused {
		out.Refused[code] = n
	}
	return out
}

// ServeHTTP takes one call.
func (r *Robot) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	// The whole body is read first: only then does net/http notice that the
	// client has gone, which ends the behaviours that never answer.
	body, err := io.ReadAll(io.LimitReader(request.Body, 1<<20))
	if err != nil {
		return
	}
	r.mu.Lock()
	r.stats.Calls++
	behaviour := r.behaviour
	r.mu.Unlock()
	if behaviour.misbehave(w, request) {
		return
	}
	code, text := r.answer(request, body, behaviour)
	w.Header().Set("Date", r.o.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"errcode": code, "errmsg": text})
}

// answer applies the rules and records the outcome.
func (r *Robot) answer(request *http.Request, body []byte, behaviour Behaviour) (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	code, text := r.check(request, body, now, behaviour)
	if code != 0 {
		r.stats.Refused[code]++
		return code, text
	}
	r.stats.Accepted++
	return 0, "ok"
}

func (r *Robot) check(request *http.Request, body []byte, now time.Time, behaviour Behaviour) (int, string) {
	query := request.URL.Query()
	switch {
	case request.Method != http.MethodPost:
		return 43002, "require post method"
	case query.Get("access_token") == "" || query.Get("access_token") != r.o.Token:
		return 300005, "token is not exist"
	}
	r.noteSignature(query.Get("sign"))
	if r.throttled(now) {
		return 130101, "send too fast, exceed 20 times per minute"
	}
	if code := behaviour.code(); code != 0 {
		return code, errorText(code)
	}
	if text := r.checkSignature(query.Get("timestamp"), query.Get("sign"), now); text != "" {
		return 310000, text
	}
	if media, _, err := mime.ParseMediaType(request.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return 43004, "content-type must be application/json"
	}
	if len(body) > MaxBodyBytes {
		return 460101, "message too long, exceed 20000 bytes"
	}
	message, code, text := parse(body)
	if code != 0 {
		return code, text
	}
	if !strings.Contains(message.Title+message.Text, r.o.Keyword) {
		return 310000, "keywords not in content, more: [https://ding-doc.dingtalk.com]"
	}
	if r.o.Improper != "" && strings.Contains(message.Title+message.Text, r.o.Improper) {
		return 430102, errorText(430102)
	}
	message.At = now
	r.messages = append(r.messages, message)
	return 0, ""
}

// throttled counts a known sender's call and reports whether the robot is silent.
func (r *Robot) throttled(now time.Time) bool {
	if now.Before(r.silent) {
		return true
	}
	for len(r.calls) > 0 && now.Sub(r.calls[0]) >= Window {
		r.calls = r.calls[1:]
	}
	r.calls = append(r.calls, now)
	r.stats.MaxPerWindow = max(r.stats.MaxPerWindow, len(r.calls))
	if len(r.calls) <= MaxPerWindow {
		return false
	}
	r.stats.Bans++
	r.silent = now.Add(Penalty)
	r.calls = nil
	return true
}

// noteSignature counts the calls that did not make a signature of their own.
func (r *Robot) noteSignature(signature string) {
	if signature == "" {
		return
	}
	if r.signatures[signature] {
		r.stats.Reused++
	}
	r.signatures[signature] = true
}

// checkSignature returns what is wrong with the signature, empty if nothing.
func (r *Robot) checkSignature(timestamp, signature string, now time.Time) string {
	if r.o.Secret == "" {
		return ""
	}
	ms, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.UnixMilli(ms)).Abs() > MaxTimestampIn {
		return "invalid timestamp, more: [https://ding-doc.dingtalk.com]"
	}
	mac := hmac.New(sha256.New, []byte(r.o.Secret))
	mac.Write([]byte(timestamp + "\n" + r.o.Secret))
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return "sign not match, more: [https://ding-doc.dingtalk.com]"
	}
	return ""
}
