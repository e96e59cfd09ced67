package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/internal/server"
)

const (
	selectorMerge   = "merge"
	selectorReplace = "replace"
)

// namespaceFlag is shared by the commands that talk to the apiserver.
type namespaceFlag struct{ namespace string }

func (n *namespaceFlag) addFlags(f *pflag.FlagSet, fallback string) {
	f.StringVar(&n.namespace, "namespace", fallback, "namespace of the webhook's Secret and Service; default from the environment variable POD_NAMESPACE")
}

func (n *namespaceFlag) validate() error {
	if n.namespace == "" {
		return errors.New("--namespace: required; in a pod, set the environment variable POD_NAMESPACE from metadata.namespace")
	}
	if msgs := validation.IsDNS1123Label(n.namespace); len(msgs) > 0 {
		return fmt.Errorf("--namespace=%s: %s", n.namespace, msgs[0])
	}
	return nil
}

// serveOptions are all the settings of the webhook.
type serveOptions struct {
	namespaceFlag
	kubeconfig     string
	address        string
	healthAddress  string
	metricsAddress string
	verbosity      int

	decisionFlags
	events bool

	policy      rotator.Policy
	clockOffset time.Duration

	drainDelay   time.Duration
	drainTimeout time.Duration
	connections  int
	maxInFlight  int
	bodyBudget   int

	checks checkOptions
	alerts alertOptions
}

func (o *serveOptions) addFlags(g *flagGroups) {
	f := g.group("General")
	o.namespaceFlag.addFlags(f, os.Getenv("POD_NAMESPACE"))
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file; empty means the pod's service account")
	f.StringVar(&o.address, "listen-address", server.DefaultAddress, "address of the TLS listener that the apiserver calls")
	f.StringVar(&o.healthAddress, "health-address", server.DefaultHealthAddress, "address of /healthz and /readyz, plain HTTP")
	f.StringVar(&o.metricsAddress, "metrics-address", ":8080", "address of /metrics, plain HTTP")
	f.IntVar(&o.verbosity, "v", 0, "log verbosity, 0 to 10; 1 also logs untouched pods")

	f = g.group("Placement")
	f.StringVar(&o.existingSelector, "existing-selector", selectorMerge, "what happens to a pod's own nodeSelector: merge keeps its other keys, replace drops them")
	f.StringVar(&o.defaultStatefulSet, "default-statefulset", "", "StatefulSet name to assume for an opted-in pod that no StatefulSet owns; empty denies such pods")
	f.BoolVar(&o.events, "events", true, "write Events on StatefulSets: why a pod was refused, and once for each revision that its pods are placed; needs the right to create and patch events")

	f = g.group("Certificates")
	f.DurationVar(&o.policy.CADuration, "ca-duration", 10*365*24*time.Hour, "life of the CA; replaced at two thirds of it")
	f.DurationVar(&o.policy.CertDuration, "cert-duration", 365*24*time.Hour, "life of the serving certificate; renewed at two thirds of it")
	f.DurationVar(&o.policy.CAOverlap, "ca-overlap", 24*time.Hour, "how long the CA before stays trusted after a rotation")
	f.DurationVar(&o.policy.RotationCheck, "rotation-check", 20*time.Second, "how often to look at Secret and caBundle though no watch event came, and at the apiserver's clock")
	f.DurationVar(&o.clockOffset, "clock-offset", 0, "shift the local clock, to test how a wrong one is handled")
	_ = f.MarkHidden("clock-offset")

	f = g.group("Server")
	f.DurationVar(&o.drainDelay, "drain-delay", server.DefaultDrainDelay, "after SIGTERM, how long to go on serving until every node knows that this pod is gone")
	f.DurationVar(&o.drainTimeout, "drain-timeout", server.DefaultDrainTimeout, "bound of the whole shutdown of the listener; below terminationGracePeriodSeconds")
	f.IntVar(&o.connections, "max-connections", server.DefaultMaxConnections, "connections served at once; for one more, the one that has waited longest for its client is closed")
	f.IntVar(&o.maxInFlight, "max-in-flight", server.DefaultMaxInFlight, "admission requests handled at once; more are answered 503 with Retry-After")
	f.IntVar(&o.bodyBudget, "body-budget", server.DefaultBodyBudget, "bytes of request bodies held at once; more are answered 503 with Retry-After")

	o.checks.addFlags(g.group("Checks of StatefulSets"))
	o.alerts.addFlags(g)
}

// validate reports every mistake, before anything is done.
func (o *serveOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := o.namespaceFlag.validate(); err != nil {
		errs = append(errs, err)
	}
	for _, a := range []struct{ flag, value string }{
		{"listen-address", o.address}, {"health-address", o.healthAddress}, {"metrics-address", o.metricsAddress},
	} {
		if _, err := net.ResolveTCPAddr("tcp", a.value); err != nil {
			bad("--%s=%s: must be host:port or :port", a.flag, a.value)
		}
	}
	if o.verbosity < 0 || o.verbosity > 10 {
		bad("--v=%d: must be from 0 to 10", o.verbosity)
	}
	if err := o.policy.Validate(); err != nil {
		errs = append(errs, err)
	}
	if o.drainDelay < 0 {
		bad("--drain-delay=%s: must not be negative", o.drainDelay)
	}
	if o.drainTimeout <= o.drainDelay {
		bad("--drain-timeout=%s: must be longer than --drain-delay=%s", o.drainTimeout, o.drainDelay)
	}
	if o.connections < 1 {
		bad("--max-connections=%d: must be positive", o.connections)
	}
	if o.maxInFlight < 1 {
		bad("--max-in-flight=%d: must be positive", o.maxInFlight)
	}
	if limit := server.DefaultMaxBodyBytes * 4 / 3; o.bodyBudget < limit {
		bad("--body-budget=%d: must be at least %d, so that three quarters of it hold the largest body", o.bodyBudget, limit)
	}
	for _, err := range []error{o.decisionFlags.validate(), o.checks.validate(), o.alerts.validate()} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (o *serveOptions) mutatorSettings() mutator.Settings {
	return mutator.Settings{DefaultStatefulSet: o.defaultStatefulSet, ReplaceExisting: o.replaces()}
}

func (o *serveOptions) serverOptions() server.Options {
	return server.Options{
		Address: o.address, HealthAddress: o.healthAddress,
		DrainDelay: o.drainDelay, DrainTimeout: o.drainTimeout,
		MaxConnections: o.connections, MaxInFlight: o.maxInFlight, BodyBudget: o.bodyBudget,
	}
}

// alertOptions are shared by serve and alert-test.
type alertOptions struct {
	alert.Options
	on []string
}

func (o *alertOptions) addFlags(g *flagGroups) {
	f := g.group("DingTalk")
	f.StringVar(&o.URLFile, "dingtalk-url-file", alert.DefaultURLFile, "file with the robot's webhook URL or its bare token; alerts are off while it is missing")
	f.StringVar(&o.SecretFile, "dingtalk-secret-file", alert.DefaultSecretFile, "file with the robot's signing secret; calls are not signed while it is missing")
	f.StringVar(&o.RobotsDir, "dingtalk-robots-dir", alert.DefaultRobotsDir, "directory with one subdirectory for each further robot, which holds the files url, secret and namespaces (one a line; optional)")
	f.StringVar(&o.MessageType, "dingtalk-message-type", "markdown", "markdown or text")
	f.StringSliceVar(&o.AtMobiles, "dingtalk-at-mobiles", nil, "mobile numbers to mention in every message about trouble, comma separated")
	f.StringSliceVar(&o.AtUserIDs, "dingtalk-at-user-ids", nil, "user ids to mention in every message about trouble, comma separated")
	f.BoolVar(&o.AtAll, "dingtalk-at-all", false, "mention the whole group in every message about trouble")
	f.BoolVar(&o.AllowHTTP, "dingtalk-allow-http", false, "permit an http:// robot URL: tests and private relays only")
	f = g.group("Alerts")
	f.StringVar(&o.Language, "alert-language", "zh", "language of the messages: zh or en")
	f.StringVar(&o.Timezone, "alert-timezone", "Asia/Shanghai", "time zone of the messages, an IANA name")
	f.StringVar(&o.ClusterName, "cluster-name", "", "name of this cluster in the title of every message")
	f.StringSliceVar(&o.on, "alert-on", kindNames(alert.DefaultAlertOn), "events to report, comma separated, of "+strings.Join(kindNames(alert.Kinds), ", "))
	f.IntVar(&o.AlertRate, "alert-rate", 4, "messages that one replica sends to a robot in a minute, retries included; DingTalk silences a robot after 20 from all senders, so five pods may run at once")
	f.DurationVar(&o.Window, "alert-window", 5*time.Second, "how long events are gathered before a message is sent")
	f.DurationVar(&o.RepeatAfter, "alert-repeat-after", 10*time.Minute, "how long the same event is only counted, not reported again")
}

func (o *alertOptions) validate() error {
	o.AlertOn = nil
	for _, k := range o.on {
		o.AlertOn = append(o.AlertOn, alert.Kind(k))
	}
	if o.AlertRate == 0 { // which is the default to the package
		return errors.Join(errors.New("--alert-rate=0: must be from 1 to 20"), o.Options.Validate())
	}
	return o.Options.Validate()
}

func kindNames(kinds []alert.Kind) []string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return names
}
