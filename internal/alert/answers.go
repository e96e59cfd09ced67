package alert

import (
	"fmt"
	"strings"
	"time"
)

// class says what the notifier does after a failed call.
type class int

const (
	classRetry    class = iota // passing trouble: again soon
	classThrottle              // the robot is rate-limited: a long pause
	classWait                  // a setting is wrong, or the cause is unknown: keep, and again in a minute
	classContent               // this message will never be accepted: isolate the line
)

// failure is why one call failed. It holds no secret. Reason is the label of the
// metric; advice is the one sentence that says what to change.
type failure struct {
	class  class
	reason string
	advice string
	code   int       // DingTalk's errcode; 0 when there was none
	detail string    // the other side's words, scrubbed and bounded; may be empty
	date   time.Time // of the answer, by the other side's clock; zero when unknown
}

func (f *failure) Error() string {
	text := "send alert: " + f.reason
	if f.code != 0 {
		text += fmt.Sprintf(" (errcode %d)", f.code)
	}
	if f.detail != "" {
		text += ": " + f.detail
	}
	return text + ": " + f.advice
}

// What a failure may be called; each is a series of the metric from the start.
const (
	reasonNetwork     = "network"
	reasonTLS         = "tls"
	reasonServer      = "server"
	reasonAnswer      = "answer"
	reasonThrottled   = "throttled"
	reasonKeyword     = "keyword"
	reasonSignature   = "signature"
	reasonIP          = "ip"
	reasonTimestamp   = "timestamp"
	reasonSecurity    = "security"
	reasonToken       = "token"
	reasonGroup       = "group"
	reasonDisabled    = "disabled"
	reasonCredentials = "credentials"
	reasonRedirect    = "redirect"
	reasonContent     = "content"
	reasonTooLong     = "too_long"
	reasonBug         = "bug"
	reasonUnknown     = "unknown"
)

// failures holds, for each reason, its class and its one explanation.
var failures = map[string]failure{
	reasonNetwork: {class: classRetry, advice: "the robot's host was not reached in time; check DNS, the egress NetworkPolicy and HTTPS_PROXY of the Deployment"},
	reasonTLS: {class: classRetry, advice: "the host was reached, but TLS with it failed; check whether a proxy or firewall between intercepts TLS with a certificate of its own, " +
		"the URL's host, and the node's clock"},
	reasonServer: {class: classRetry, advice: "the other side is in trouble; wait, and check HTTPS_PROXY and the URL's host if it lasts"},
	reasonAnswer: {class: classRetry, advice: `the answer was not DingTalk's; check that key "url" of Secret sts-webhook-dingtalk names the robot and that no proxy answers in its place`},
	reasonThrottled: {class: classThrottle, advice: "the robot got more than 20 messages in a minute from all its senders, or the cluster's address called too often, and is silent for some minutes; " +
		"give this webhook a robot of its own, lower --alert-rate, or report less with --alert-on"},
	reasonKeyword: {class: classWait, advice: `the robot asks for a keyword that the message lacks; set the robot's custom keyword to "sts-webhook", which every message holds`},
	reasonSignature: {class: classWait, advice: `the signature was refused; copy the SEC... text of the robot's "additional signature" setting into key "secret" of Secret sts-webhook-dingtalk ` +
		"and check the node's clock"},
	reasonIP:        {class: classWait, advice: "the cluster's outgoing address is not allowed; add it to the robot's IP address list"},
	reasonTimestamp: {class: classWait, advice: "the timestamp is more than an hour off, and the answer does not say the right time; correct the node's clock (NTP)"},
	reasonSecurity:  {class: classWait, advice: "a security setting of the robot refused the message; compare its keyword, signature and IP address settings with Secret sts-webhook-dingtalk"},
	reasonToken:     {class: classWait, advice: `the token is unknown; copy the robot's webhook address into key "url" of Secret sts-webhook-dingtalk`},
	reasonGroup:     {class: classWait, advice: `the robot's group does not exist any more; add a robot to another group and put its address into key "url" of Secret sts-webhook-dingtalk`},
	reasonDisabled:  {class: classWait, advice: "the robot is switched off; switch it on in the group's robot settings"},
	reasonCredentials: {class: classWait, advice: `the mounted credentials cannot be used; correct keys "url" and "secret" of Secret sts-webhook-dingtalk, ` +
		"or the paths in --dingtalk-url-file and --dingtalk-secret-file"},
	reasonRedirect: {class: classWait, advice: `the address answered with a redirect, which is never followed because it would carry the token; put the final address into key "url" of Secret sts-webhook-dingtalk`},
	reasonContent:  {class: classContent, advice: "DingTalk refuses what the message says (a link or a word); its lines are sent apart, and the one at fault is given up"},
	reasonTooLong:  {class: classContent, advice: "the message was too long; its lines are sent apart"},
	reasonBug:      {class: classContent, advice: "the message was malformed; this is a bug of sts-webhook, please report it with this line"},
	reasonUnknown:  {class: classWait, advice: "DingTalk refused the message for a reason that sts-webhook does not know; look the errcode up in DingTalk's documentation"},
}

// fail returns the failure for a reason with the words of the other side.
func fail(reason string, code int, detail string) *failure {
	f := failures[reason]
	f.reason, f.code, f.detail = reason, code, detail
	return &f
}

// reasonOfCode classifies DingTalk's error codes, as its page on custom robots
// and the observed answers of oapi.dingtalk.com have them. 310000 is not here:
// only its text says which security setting refused.
var reasonOfCode = map[int]string{
	-1:     reasonServer,
	130101: reasonThrottled, 410100: reasonThrottled, 90030: reasonThrottled,
	300001: reasonToken, 300005: reasonToken, 400101: reasonToken,
	400013: reasonGroup,
	400102: reasonDisabled, 400106: reasonDisabled,
	430101: reasonContent, 430102: reasonContent, 430103: reasonContent, 430104: reasonContent,
	460101: reasonTooLong, 101002: reasonTooLong,
	40035: reasonBug, 43002: reasonBug, 43004: reasonBug, 400105: reasonBug,
}

// securityWords tell which setting a 310000 is about, in DingTalk's English and
// Chinese wordings. The order matters: the Chinese text about a bad signature
// also mentions the timestamp, and the one about keywords comes first of all
// because it may quote the others' words.
var securityWords = []struct {
	reason string
	words  []string
}{
	{reasonKeyword, []string{"keyword", "关键词"}},
	{reasonSignature, []string{"sign not match", "签名不匹配", "signature"}},
	{reasonTimestamp, []string{"timestamp", "时间戳"}},
	{reasonIP, []string{"whitelist", "白名单", "ip "}},
	{reasonSignature, []string{"sign", "签名"}},
}

// reasonOfAnswer classifies an errcode other than 0.
func reasonOfAnswer(code int, message string) string {
	if code != 310000 {
		if reason, known := reasonOfCode[code]; known {
			return reason
		}
		return reasonUnknown
	}
	message = strings.ToLower(message)
	for _, setting := range securityWords {
		for _, word := range setting.words {
			if strings.Contains(message, word) {
				return setting.reason
			}
		}
	}
	return reasonSecurity
}
