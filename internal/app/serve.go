package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/placer"
	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/internal/recorder"
	"sts-mutating-webhook/internal/rotator"
	"sts-mutating-webhook/internal/server"
	"sts-mutating-webhook/internal/validator"
)

// serve is the webhook itself.
type serve struct{ serveOptions }

func newServe() *serve { return &serve{} }

func (c *serve) addFlags(g *flagGroups) { c.serveOptions.addFlags(g) }

// process holds the parts of a running webhook.
type process struct {
	log      logr.Logger
	rotator  *rotator.Rotator
	server   *server.Server
	notifier *alert.Notifier
	recorder *recorder.Recorder // nil with --events=false
	manager  manager.Manager
	cluster  clusterView
	placer   *placer.Placer
}

func (c *serve) run(ctx context.Context, _, stderr io.Writer) error {
	lines := newLogWriter(stderr, metrics.Registry)
	defer lines.Close()
	log := newLogger(lines, c.verbosity)
	metrics.Registry.MustRegister(newBuildInfo())
	setMemoryLimit(log)
	p, err := c.wire(log, lines)
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// newLogger is the one sink of everything that logs: us, controller-runtime
// and klog.
func newLogger(w *logWriter, verbosity int) logr.Logger {
	handler := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.Level(-verbosity)})
	log := logr.FromSlogHandler(urgentHandler{handler, w.Hurry})
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	return log
}

// memoryShare is what of the container's memory limit the Go heap may fill
// before the collector works harder; the rest is for stacks, buffers and code.
const memoryShare = 0.8

// setMemoryLimit derives GOMEMLIMIT from the cgroup; GOMAXPROCS follows the
// cgroup by itself since Go 1.25.
func setMemoryLimit(log logr.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.FromCgroup))
	if err != nil {
		log.V(1).Info("no memory limit found", "cause", err.Error())
		return
	}
	log.Info("memory limit set from the cgroup", "bytes", limit)
}

func (c *serve) wire(log logr.Logger, lines io.Writer) (*process, error) {
	p := &process{log: log}
	var err error
	alerts := c.alerts.Options
	alerts.Log, alerts.Registerer = log.WithName("alert"), metrics.Registry
	alerts.Replica = replicaName()
	if p.notifier, err = alert.New(alerts); err != nil {
		return nil, fmt.Errorf("set up alerts: %w", err)
	}
	if p.recorder, err = c.newRecorder(log); err != nil {
		return nil, err
	}
	events := events{p.notifier, p.recorder}
	p.rotator = rotator.New(rotator.Options{
		Namespace: c.namespace, Policy: c.policy, Dial: p.dialSelf, Report: events.certificate,
		Now: func() time.Time { return time.Now().Add(c.clockOffset) },
		Log: log, Registerer: metrics.Registry,
	})
	if p.server, err = c.newServer(p, events, log, lines); err != nil {
		return nil, err
	}
	return p, c.setUpManager(p)
}

func (c *serve) newRecorder(log logr.Logger) (*recorder.Recorder, error) {
	if !c.events {
		return nil, nil
	}
	config, err := c.restConfig()
	if err != nil {
		return nil, err
	}
	sink, err := recorder.Sink(config)
	if err != nil {
		return nil, err
	}
	return recorder.New(recorder.Options{Sink: sink, Log: log.WithName("events"), Registerer: metrics.Registry}), nil
}

func (c *serve) newServer(p *process, events events, log logr.Logger, lines io.Writer) (*server.Server, error) {
	pods := mutator.NewHandler(c.mutatorSettings(), events, lines, log, metrics.Registry)
	o := c.serverOptions()
	o.GetCertificate, o.Ready = p.rotator.GetCertificate, p.rotator.Ready
	p.cluster.log = log.WithName("cluster")
	statefulSets := validator.NewHandler(validator.Settings{
		Options: plan.Options{ReplaceExisting: c.replaces()}, Cluster: &p.cluster,
	}, log, metrics.Registry)
	o.Handlers = map[string]server.Handler{"/mutate": pods.Handle, "/validate": statefulSets.Handle}
	o.Log, o.Registerer = log.WithName("server"), metrics.Registry
	return server.New(o)
}

func (c *serve) setUpManager(p *process) error {
	base, err := c.restConfig()
	if err != nil {
		return err
	}
	p.manager, err = manager.New(p.rotator.RESTConfig(base), manager.Options{
		Scheme:         scheme(),
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper(), nil },
		Cache:          cache.Options{ByObject: c.cachedObjects(p)},
		Metrics:        metricsserver.Options{BindAddress: c.metricsAddress},
		Logger:         ctrl.Log,
	})
	if err != nil {
		return fmt.Errorf("create manager: %w", err)
	}
	p.cluster.options, p.cluster.live, p.cluster.cache = c.checks, p.manager.GetAPIReader(), p.manager.GetCache()
	if p.placer, err = c.newPlacer(p); err != nil {
		return err
	}
	return p.rotator.SetupWithManager(p.manager)
}

// cachedObjects limits every list and watch to what is needed.
func (c *serve) cachedObjects(p *process) map[client.Object]cache.ByObject {
	objects := p.rotator.CachedObjects()
	maps.Copy(objects, c.checks.objects())
	return objects
}

// replicaName is the pod's name.
func replicaName() string {
	name, _ := os.Hostname()
	return name
}

// dialSelf connects to our own TLS listener.
func (p *process) dialSelf(ctx context.Context) (net.Conn, error) {
	_, port, err := net.SplitHostPort(p.server.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("read own address: %w", err)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("localhost", port))
}

func (c *serve) restConfig() (*rest.Config, error) {
	if c.kubeconfig != "" {
		cfg, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("load --kubeconfig=%s: %w", strconv.Quote(c.kubeconfig), err)
		}
		return cfg, nil
	}
	cfg, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("load the pod's service account: %w; outside a cluster give --kubeconfig", err)
	}
	return cfg, nil
}

// run serves until ctx ends. Rotation, repair and alerts go on while the
// listener drains, and end after it.
func (p *process) run(ctx context.Context) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	behind, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBehind()
	var g errgroup.Group
	part := func(name string, ctx context.Context, after func(), start func(context.Context) error) {
		g.Go(func() error {
			defer after()
			if err := start(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	p.started()
	part("server", serving, func() { p.stopping(); stopBehind() }, p.server.Start)
	part("manager", behind, stopServing, p.manager.Start)
	part("rotator", behind, stopServing, p.rotator.Start)
	part("events", behind, func() {}, p.recorder.Start)
	part("cluster", behind, func() {}, p.cluster.Start)
	part("placer", behind, func() {}, p.placer.Start)
	part("alerts", behind, func() {}, p.notifier.Start)
	return g.Wait()
}
