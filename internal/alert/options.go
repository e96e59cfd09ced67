package alert

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

// Where the optional Secret sts-webhook-dingtalk is mounted.
const (
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
	// called by every message, AtAll (--dingtalk-at-all) calls the whole group.
	// At most 50 each.
	AtMobiles, AtUserIDs []string
	AtAll                bool
	// AlertOn (--alert-on) selects the kinds; empty means DefaultAlertOn.
	AlertOn []Kind
	// Window (--alert-window) is how long events are gathered after the first one,
	// 1 s to 10 min; 0 means 5 s.
	Window time.Duration
	// RepeatAfter (--alert-repeat-after) is how long the same thing is not told
	// again but only counted, 1 min to 24 h; 0 means 10 min.
	RepeatAfter time.Duration
	// Replicas returns how many processes share the robot's 20 messages a minute.
	// It is called before each message and must not block; nil or less than 1
	// counts as 1.
	Replicas func() int
	// AllowHTTP (--dingtalk-allow-http) permits http:// addresses: tests and private relays.
	AllowHTTP bool

	// MaxLines bounds the merged lines that wait (0 means 2000) and MaxOrdinals the
	// placed ordinals (0 means 100000). Both bound the memory of the queue, of the
	// batch being sent and of what was told, each on its own.
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
	throttlePause      = 10 * time.Minute // DingTalk's penalty
	troublePause       = time.Minute      // after the attempts of a message are used up, or a wrong setting
	finalBudget        = 3 * time.Second  // for the message in flight and the last one, once ctx ended
	maxAttempts        = 4
	firstBackoff       = 2 * time.Second // doubles with each attempt, +-50 %

	defaultMaxLines    = 2000
	defaultMaxOrdinals = 100_000
	maxPeople          = 50
	maxClusterName     = 64
)

var (
	mobile = regexp.MustCompile(`^\+?[0-9][0-9-]{4,19}$`)
	userID = regexp.MustCompile(`^[^\s@]{1,64}$`)
)

// Validate returns every mistake at once: the flag, the value and the bound.
func (o Options) Validate() error {
	var wrong []error
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
	people := func(flag string, names []string, form *regexp.Regexp, bound string) {
		if len(names) > maxPeople {
			bad(flag, fmt.Sprintf("(%d entries)", len(names)), fmt.Sprintf("at most %d entries", maxPeople))
		}
		for _, name := range names {
			if !form.MatchString(name) {
				bad(flag, name, bound)
			}
		}
	}
	people("dingtalk-at-mobiles", o.AtMobiles, mobile, "5 to 20 digits, optionally with + and -")
	people("dingtalk-at-user-ids", o.AtUserIDs, userID, "1 to 64 characters without spaces and @")
	if o.Window != 0 && (o.Window < time.Second || o.Window > 10*time.Minute) {
		bad("alert-window", o.Window, "from 1s to 10m")
	}
	if o.RepeatAfter != 0 && (o.RepeatAfter < time.Minute || o.RepeatAfter > 24*time.Hour) {
		bad("alert-repeat-after", o.RepeatAfter, "from 1m to 24h")
	}
	if o.MaxLines < 0 || o.MaxOrdinals < 0 {
		wrong = append(wrong, fmt.Errorf("bounds of the queue: %d lines, %d ordinals: must not be negative", o.MaxLines, o.MaxOrdinals))
	}
	return errors.Join(wrong...)
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
	if o.Replicas == nil {
		o.Replicas = func() int { return 1 }
	}
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
