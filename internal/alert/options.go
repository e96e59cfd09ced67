package alert

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"
	_ "time/tzdata" // the image has no zones of its own
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// Where the optional Secret sts-webhook-dingtalk is mounted, and those of further robots.
const (
	DefaultRobotsDir  = "/etc/sts-webhook/robots"
	DefaultURLFile    = "/etc/sts-webhook/dingtalk/url"
	DefaultSecretFile = "/etc/sts-webhook/dingtalk/secret"
)

// Options configure a Notifier. The zero value is usable: alerts are then off
// until DefaultURLFile exists.
type Options struct {
	// URLFile (--dingtalk-url-file) holds the robot's webhook address or its bare
	// token; empty means DefaultURLFile. It is read at each call. While it is
	// missing or empty, alerts are off and events are forgotten.
	URLFile string
	// SecretFile (--dingtalk-secret-file) holds the SEC... text of the robot's
	// additional signature; empty means DefaultSecretFile. It is read at each
	// call. Missing or empty means that calls are not signed.
	SecretFile string
	// RobotsDir (--dingtalk-robots-dir) holds a directory for each further robot, with
	// the files url, secret and namespaces (one a line: the robot receives events of these alone,
	// and not of the webhook's own trouble; without the file it receives everything).
	// Empty means DefaultRobotsDir; it need not exist, and is looked at every 10 s.
	RobotsDir string
	// MessageType (--dingtalk-message-type) is markdown or text; empty means markdown.
	MessageType string
	// Language (--alert-language) of the messages is zh or en; empty means zh.
	Language string
	// ClusterName (--cluster-name) stands in every title; at most 64 characters,
	// empty leaves it out.
	ClusterName string
	// Replica is this process's name in the messages, the pod's name; empty leaves it out.
	Replica string
	// AtMobiles (--dingtalk-at-mobiles) and AtUserIDs (--dingtalk-at-user-ids) are
	// called by every message about trouble, AtAll (--dingtalk-at-all) calls the whole group.
	// At most 50 each.
	AtMobiles, AtUserIDs []string
	AtAll                bool
	// AlertOn (--alert-on) selects the kinds; empty means DefaultAlertOn.
	AlertOn []Kind
	// Window (--alert-window) is how long events are gathered after the first one,
	// 1 s to 10 min; 0 means 5 s.
	Window time.Duration
	// RepeatAfter (--alert-repeat-after) is how long the same thing is not reported
	// again but only counted, 1 min to 24 h; 0 means 10 min.
	RepeatAfter time.Duration
	// AlertRate (--alert-rate) is how many calls this process makes to a robot within
	// 63 s, 1 to 20; 0 means 4, so that five processes together stay within DingTalk's
	// 20 messages a minute.
	AlertRate int
	// Timezone (--alert-timezone) is the IANA name of the time zone of the messages;
	// empty means Asia/Shanghai. The zones are part of the program.
	Timezone string
	// AllowHTTP (--dingtalk-allow-http) permits http:// addresses: tests and private relays.
	AllowHTTP bool

	// MaxLines bounds the lines of refusals that wait, those of placements, and those
	// that are remembered, each (0 means 2000); MaxOrdinals the placed ordinals that wait,
	// and those that are remembered, each (0 means 100000). All hold for one robot.
	MaxLines, MaxOrdinals int

	// Clock, nil means the system's, is asked for every moment and every wait.
	// Timeouts of the network run on the system's clock.
	Clock clock.WithTicker
	// Random spreads the retries, in [0, 1); nil means math/rand.
	Random func() float64
	// Log gets one line when trouble begins, changes or ends, never one per message.
	Log logr.Logger
	// Registerer gets the metrics; nil means none are exported.
	Registerer prometheus.Registerer

	dial dialFunc // tests replace the network by it; nil means TCP
}

// Fixed times of the notifier.
const (
	defaultWindow      = 5 * time.Second
	defaultRepeatAfter = 10 * time.Minute
	throttlePause      = 10 * time.Minute // DingTalk's penalty; a ban of the address lasts 5
	troublePause       = time.Minute      // after the attempts of a message are used up, or a wrong setting
	finalBudget        = 3 * time.Second  // for the message in flight and the last one, once ctx ended
	maxAttempts        = 4
	firstBackoff       = 2 * time.Second // doubles with each attempt, +-50 %

	defaultMaxLines    = 2000
	defaultMaxOrdinals = 100_000
	defaultAlertRate   = 4
	defaultTimezone    = "Asia/Shanghai"
	maxPeople          = 50
	maxClusterName     = 64
)

var (
	mobile = regexp.MustCompile(`^\+?[0-9][0-9-]{4,19}$`)
	userID = regexp.MustCompile(`^[^\s@]{1,64}$`)
)

// Validate returns every mistake at once: the flag, the value and the bound.
func (o Options) Validate() error {
	wrong := o.secretsAsFiles()
	bad := func(flag string, value any, bound string) {
		wrong = append(wrong, fmt.Errorf("--%s=%v: must be %s", flag, value, bound))
	}
	if !slices.Contains([]string{"", typeMarkdown, typeText}, o.MessageType) {
		bad("dingtalk-message-type", o.MessageType, "markdown or text")
	}
	if !slices.Contains([]string{"", languageZh, languageEn}, o.Language) {
		bad("alert-language", o.Language, "zh or en")
	}
	if utf8.RuneCountInString(o.ClusterName) > maxClusterName {
		bad("cluster-name", o.ClusterName, fmt.Sprintf("at most %d characters", maxClusterName))
	}
	for _, kind := range o.AlertOn {
		if !slices.Contains(Kinds, kind) {
			bad("alert-on", kind, fmt.Sprintf("one of %v", Kinds))
		}
	}
	wrong = append(wrong, o.wrongPeople()...)
	if o.Window != 0 && (o.Window < time.Second || o.Window > 10*time.Minute) {
		bad("alert-window", o.Window, "from 1s to 10m")
	}
	if o.RepeatAfter != 0 && (o.RepeatAfter < time.Minute || o.RepeatAfter > 24*time.Hour) {
		bad("alert-repeat-after", o.RepeatAfter, "from 1m to 24h")
	}
	if o.AlertRate < 0 || o.AlertRate > robotLimit {
		bad("alert-rate", o.AlertRate, fmt.Sprintf("from 1 to %d", robotLimit))
	}
	if _, err := time.LoadLocation(o.Timezone); err != nil {
		bad("alert-timezone", o.Timezone, "the IANA name of a time zone, such as Asia/Shanghai or UTC")
	}
	if o.MaxLines < 0 || o.MaxOrdinals < 0 {
		wrong = append(wrong, fmt.Errorf("bounds of the queue: %d lines, %d ordinals: must not be negative", o.MaxLines, o.MaxOrdinals))
	}
	return errors.Join(wrong...)
}

// wrongPeople returns the mistakes in the people to call.
func (o Options) wrongPeople() (wrong []error) {
	for _, p := range []struct {
		flag  string
		names []string
		form  *regexp.Regexp
		bound string
	}{
		{"dingtalk-at-mobiles", o.AtMobiles, mobile, "5 to 20 digits, optionally with + and -"},
		{"dingtalk-at-user-ids", o.AtUserIDs, userID, "1 to 64 characters without spaces and @"},
	} {
		if len(p.names) > maxPeople {
			wrong = append(wrong, fmt.Errorf("--%s=(%d entries): must be at most %d entries", p.flag, len(p.names), maxPeople))
		}
		for _, name := range p.names {
			if !p.form.MatchString(name) {
				wrong = append(wrong, fmt.Errorf("--%s=%s: must be %s", p.flag, name, p.bound))
			}
		}
	}
	return wrong
}

// secretText is what a robot's settings show and a path does not: an address, a token, a
// signing secret.
var secretText = regexp.MustCompile(`://|^(SEC)?[0-9A-Za-z]{32,}$`)

// LooksSecret reports whether a text may be a robot's address, token or signing secret, so
// that it must not be repeated in an error.
func LooksSecret(text string) bool { return secretText.MatchString(text) }

// secretsAsFiles refuses a secret in place of the path of its file, without repeating it.
func (o Options) secretsAsFiles() (wrong []error) {
	for _, file := range []struct{ flag, name, what string }{
		{"dingtalk-url-file", o.URLFile, "file that holds the address"},
		{"dingtalk-secret-file", o.SecretFile, "file that holds the secret"},
		{"dingtalk-robots-dir", o.RobotsDir, "directory"},
	} {
		if LooksSecret(file.name) {
			wrong = append(wrong, fmt.Errorf("--%s: must be the path of a %s, not an address or a secret", file.flag, file.what))
		}
	}
	return wrong
}

// withDefaults fills the zero values.
func (o Options) withDefaults() Options {
	o.URLFile = cmp.Or(o.URLFile, DefaultURLFile)
	o.SecretFile = cmp.Or(o.SecretFile, DefaultSecretFile)
	o.MessageType = cmp.Or(o.MessageType, typeMarkdown)
	o.Language = cmp.Or(o.Language, languageZh)
	o.Window = cmp.Or(o.Window, defaultWindow)
	o.RepeatAfter = cmp.Or(o.RepeatAfter, defaultRepeatAfter)
	o.MaxLines = cmp.Or(o.MaxLines, defaultMaxLines)
	o.MaxOrdinals = cmp.Or(o.MaxOrdinals, defaultMaxOrdinals)
	if len(o.AlertOn) == 0 {
		o.AlertOn = DefaultAlertOn
	}
	o.RobotsDir = cmp.Or(o.RobotsDir, DefaultRobotsDir)
	o.AlertRate = cmp.Or(o.AlertRate, defaultAlertRate)
	o.Timezone = cmp.Or(o.Timezone, defaultTimezone)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	return o
}
