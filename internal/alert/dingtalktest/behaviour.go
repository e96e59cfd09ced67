package dingtalktest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Behaviour is how the robot answers: one of the constants, or made by Errcode or
// Status.
type Behaviour string

// Behaviours. Hang and SlowLoris end when the client gives up.
const (
	OK        Behaviour = "ok"         // by the rules
	Hang      Behaviour = "hang"       // no answer at all
	SlowLoris Behaviour = "slow-loris" // a header, then one byte a second
	Reset     Behaviour = "reset"      // the connection is reset
	HTML      Behaviour = "html"       // 200 with a page, as a captive proxy does
	Huge      Behaviour = "huge"       // 200 with an endless body
	Redirect  Behaviour = "redirect"   // 302 to another path of the same host
	Punish    Behaviour = "punish"     // 200 with the ban of the calling address
	Echo      Behaviour = "echo"       // 310000 with a text that quotes the call's address, token and signature included
)

const (
	errcodePrefix = "errcode:"
	statusPrefix  = "status:"
)

// Errcode answers every call with this error code.
func Errcode(code int) Behaviour { return Behaviour(errcodePrefix + strconv.Itoa(code)) }

// Status answers every call with this HTTP status and an empty body.
func Status(status int) Behaviour { return Behaviour(statusPrefix + strconv.Itoa(status)) }

// Behave changes the robot's behaviour for calls that come from now on.
func (r *Robot) Behave(b Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behaviour = b
}

func (b Behaviour) code() int   { return b.number(errcodePrefix) }
func (b Behaviour) status() int { return b.number(statusPrefix) }

func (b Behaviour) number(prefix string) int {
	text, found := strings.CutPrefix(string(b), prefix)
	if !found {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// misbehave reports whether it has answered, or refused to, in the robot's place.
func (b Behaviour) misbehave(w http.ResponseWriter, r *http.Request) bool {
	switch b {
	case Hang:
		<-r.Context().Done()
	case SlowLoris:
		trickle(w, r)
	case Reset:
		reset(w)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><body>Please log in</body></html>")
	case Huge:
		chunk := []byte(strings.Repeat(" ", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return true
			}
		}
	case Redirect:
		http.Redirect(w, r, "/elsewhere?"+r.URL.RawQuery, http.StatusFound)
	case Punish:
		_, _ = io.WriteString(w, `{"status":1111,"punish":"deny"}`)
	case Echo:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"errcode":310000,"errmsg":%q}`, "bad address "+r.URL.String()+" "+r.URL.Query().Get("access_token")+" "+r.URL.Query().Get("sign"))
	default:
		if b.status() == 0 {
			return false
		}
		w.WriteHeader(b.status())
	}
	return true
}

// trickle sends one byte a second until the client gives up.
func trickle(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// reset closes the connection without an answer, with a RST where TCP is used.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// errorTexts are the real robot's words, as far as they are known.
var errorTexts = map[int]string{
	-1:     "system busy",
	130101: "send too fast, exceed 20 times per minute",
	410100: "send too fast",
	90030:  "too many calls",
	310000: "sign not match, more: [https://ding-doc.dingtalk.com]",
	300001: "token is not exist",
	300005: "token is not exist",
	400013: "group is disbanded",
	400101: "access_token is not exist",
	400102: "robot is stopped",
	400106: "robot is not exist",
	430101: "content contains unsafe link",
	430102: "content contains improper text",
	430103: "content contains improper image",
	430104: "content contains improper content",
	460101: "message too long",
	101002: "message too long",
	40035:  "missing parameter json",
	43002:  "require post method",
	43004:  "invalid content-type",
	400105: "unsupported msgtype",
}

func errorText(code int) string {
	if text, known := errorTexts[code]; known {
		return text
	}
	return "unknown error " + strconv.Itoa(code)
}
