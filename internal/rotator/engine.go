package rotator

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	certrotator "github.com/open-policy-agent/cert-controller/pkg/rotator"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// newEngine configures cert-controller. markerDir holds the file that it takes
// for a mounted certificate; see Marker.
func (r *Rotator) newEngine(markerDir string) *certrotator.CertRotator {
	return &certrotator.CertRotator{
		SecretKey:              types.NamespacedName{Namespace: r.opts.Namespace, Name: SecretName},
		CertDir:                markerDir,
		CAName:                 ServiceName + "-ca",
		CAOrganization:         ServiceName,
		DNSName:                r.DNSName(),
		ExtKeyUsages:           &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsReady:                make(chan struct{}),
		Webhooks:               []certrotator.WebhookInfo{{Name: ConfigurationName, Type: certrotator.Mutating}},
		FieldOwner:             fieldOwner,
		CaCertDuration:         r.opts.Policy.CADuration,
		ServerCertDuration:     r.opts.Policy.CertDuration,
		RotationCheckFrequency: r.opts.Policy.RotationCheck,
		LookaheadInterval:      r.opts.Policy.lookahead(),
	}
}

// Marker makes a directory with the file whose existence the engine waits for
// (ensureCertsMounted in cert-controller v0.16.0 only stats it). No certificate
// is ever written to a disk.
func Marker() (dir string, err error) {
	dir, err = os.MkdirTemp("", "sts-webhook-")
	if err != nil {
		return "", fmt.Errorf("create marker directory: %w", err)
	}
	text := []byte("The serving certificate is kept in memory; this file only tells cert-controller so.\n")
	if err := os.WriteFile(filepath.Join(dir, certKey), text, 0o400); err != nil {
		return "", fmt.Errorf("write marker: %w", err)
	}
	return dir, nil
}

// engineManager is the manager as the engine sees it: the guard for a client,
// and nothing of the engine starts before there is a keyring to guard.
type engineManager struct {
	manager.Manager
	rotator *Rotator
}

func (m *engineManager) GetClient() client.Client {
	return &guard{Client: m.Manager.GetClient(), rotator: m.rotator}
}

func (m *engineManager) Add(runnable manager.Runnable) error {
	return m.Manager.Add(&gated{Runnable: runnable, known: m.rotator.known})
}

// gated starts a runnable of the engine once a keyring is known.
type gated struct {
	manager.Runnable
	known <-chan struct{}
}

func (g *gated) NeedLeaderElection() bool { return false }

func (g *gated) Start(ctx context.Context) error {
	select {
	case <-g.known:
	case <-ctx.Done():
		return nil
	}
	for {
		// The engine's Start fails when the Secret is missing at that moment,
		// before it has started anything, so it can be started again; the loop
		// is about to restore the Secret.
		err := g.Runnable.Start(ctx)
		if !apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
	}
}

// onlyByName limits every list and watch of the engine's and our caches to our
// own object. The apiserver authorises such a request by that name, so RBAC can
// do the same with resourceNames (Kubernetes API reference, field selectors;
// RBAC, "Referring to resources").
func onlyByName(next http.RoundTripper) http.RoundTripper {
	// The Deployment, which carries the Service's name, is read for its number of replicas.
	names := map[string]string{"secrets": SecretName, "mutatingwebhookconfigurations": ConfigurationName, "deployments": ServiceName}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resource := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
		name, ours := names[resource]
		if !ours || req.Method != http.MethodGet {
			return next.RoundTrip(req)
		}
		scoped := req.Clone(req.Context())
		query := scoped.URL.Query()
		query.Set("fieldSelector", "metadata.name="+name)
		scoped.URL.RawQuery = query.Encode()
		return next.RoundTrip(scoped)
	})
}

// QuietEngine returns log with cert-controller's chatter moved to V(1), and with
// it the errors that we answer for: a conflict, which its watch resolves, a damaged
// Secret, which our loop restores and reports, and a missing webhook configuration,
// which our loop reports when it lasts.
func QuietEngine(log logr.Logger) logr.Logger {
	return logr.New(&quietSink{LogSink: log.GetSink()})
}

// engineLogName is the logger that cert-controller v0.16.0 uses.
const engineLogName = "cert-rotation"

type quietSink struct {
	logr.LogSink
	engine bool
}

func (s *quietSink) level(l int) int {
	if s.engine {
		return l + 1
	}
	return l
}

func (s *quietSink) Init(info logr.RuntimeInfo) { s.LogSink.Init(info) }
func (s *quietSink) Enabled(l int) bool         { return s.LogSink.Enabled(s.level(l)) }
func (s *quietSink) Info(l int, msg string, kv ...any) {
	if s.Enabled(l) {
		s.LogSink.Info(s.level(l), msg, kv...)
	}
}

func (s *quietSink) Error(err error, msg string, kv ...any) {
	if s.engine && (apierrors.IsConflict(err) || strings.HasPrefix(msg, "secret is not well-formed") || strings.HasPrefix(msg, "Webhook not found")) {
		s.Info(0, msg, append(kv, "cause", err)...)
		return
	}
	s.LogSink.Error(err, msg, kv...)
}

func (s *quietSink) WithName(name string) logr.LogSink {
	return &quietSink{LogSink: s.LogSink.WithName(name), engine: s.engine || name == engineLogName}
}

func (s *quietSink) WithValues(kv ...any) logr.LogSink {
	return &quietSink{LogSink: s.LogSink.WithValues(kv...), engine: s.engine}
}
