// Command textbook is the control of the chaos tests and benchmarks: the same
// mutation, built as the guides of its libraries show it. cert-controller keeps
// the certificate in a Secret that is mounted as a volume, controller-runtime's
// webhook server reads it from there, and the handler decodes a typed pod,
// changes it and lets a diff of the re-encoded pod be the patch.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	namespace = "textbook-system"
	name      = "textbook-webhook"
	certDir   = "/certs"
)

// lifetimes are cert-controller's defaults unless given; zero is its default.
type lifetimes struct{ ca, cert, lookahead, check time.Duration }

func main() {
	var l lifetimes
	flag.DurationVar(&l.ca, "ca-duration", 0, "life of the CA; 0 is cert-controller's default of 10 years")
	flag.DurationVar(&l.cert, "cert-duration", 0, "life of the serving certificate; 0 is the default of 1 year")
	flag.DurationVar(&l.lookahead, "lookahead", 0, "how long before its end a certificate is replaced; 0 is the default of 90 days")
	flag.DurationVar(&l.check, "rotation-check", 0, "how often that is checked; 0 is the default of 12 hours")
	flag.Parse()
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil)))
	if err := run(l); err != nil {
		fmt.Fprintln(os.Stderr, "textbook:", err)
		os.Exit(1)
	}
}

func run(l lifetimes) error {
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                 clientgoscheme.Scheme,
		Metrics:                metricsserver.Options{BindAddress: ":8080"},
		HealthProbeBindAddress: ":8081",
		WebhookServer:          webhook.NewServer(webhook.Options{Port: 9443, CertDir: certDir}),
	})
	if err != nil {
		return fmt.Errorf("create manager: %w", err)
	}
	ready := make(chan struct{})
	if err := rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:              types.NamespacedName{Namespace: namespace, Name: name + "-cert"},
		CertDir:                certDir,
		CAName:                 name + "-ca",
		CAOrganization:         "textbook",
		DNSName:                name + "." + namespace + ".svc",
		IsReady:                ready,
		Webhooks:               []rotator.WebhookInfo{{Name: name, Type: rotator.Mutating}},
		CaCertDuration:         l.ca,
		ServerCertDuration:     l.cert,
		LookaheadInterval:      l.lookahead,
		RotationCheckFrequency: l.check,
	}); err != nil {
		return fmt.Errorf("add cert-controller: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	serving := make(chan healthz.Checker, 1)
	if err := mgr.AddReadyzCheck("webhook", whenSet(serving)); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	go func() {
		<-ready
		server := mgr.GetWebhookServer()
		server.Register("/mutate", &webhook.Admission{Handler: &placer{decoder: admission.NewDecoder(mgr.GetScheme())}})
		serving <- server.StartedChecker()
	}()
	return mgr.Start(ctx)
}
