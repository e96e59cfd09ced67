package load

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"sts-mutating-webhook/test/webhook"
)

// OptIn is the label, with the value "true", that sends a pod to the webhook.
const OptIn = webhook.Label

// ordinals bounds the pod names in use; their bodies are made once.
const ordinals = 32

// requestTimeout bounds one creation: the apiserver's own limit for a webhook is
// at most 30 s, and the tests' webhooks have 5 s or 10 s.
const requestTimeout = 20 * time.Second

// Target says which pods are created where.
type Target struct {
	// Config reaches the apiserver; its rate limits are not used.
	Config *rest.Config
	// Namespace must exist and have its default service account.
	Namespace string
	// OptIn is the label that sends a pod to the webhook; empty means OptIn.
	OptIn string
}

// Client creates single pods.
type Client struct {
	http   *http.Client
	url    string
	bodies [ordinals][]byte
}

// NewClient prepares connections and bodies; it sends nothing.
func NewClient(t Target) (*Client, error) {
	h, err := rest.HTTPClientFor(t.Config)
	if err != nil {
		return nil, fmt.Errorf("create HTTP client: %w", err)
	}
	c := &Client{
		http: h,
		url:  strings.TrimSuffix(t.Config.Host, "/") + "/api/v1/namespaces/" + t.Namespace + "/pods?dryRun=All",
	}
	for i := range c.bodies {
		if c.bodies[i], err = podJSON(t.Namespace, cmp.Or(t.OptIn, OptIn), i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Sample is one creation.
type Sample struct {
	// Start is when the request was due.
	Start time.Time
	// Latency is from Start to the end of the answer, waiting for a turn included.
	Latency time.Duration
	Outcome Outcome
	// Cause says why Outcome is not Admitted.
	Cause string
}

// End is when the answer was complete.
func (s Sample) End() time.Time { return s.Start.Add(s.Latency) }

// Create makes the dry run for pod number n that was due at start.
func (c *Client) Create(ctx context.Context, n int, start time.Time) Sample {
	s := Sample{Start: start}
	s.Outcome, s.Cause = c.create(ctx, n%ordinals)
	s.Latency = time.Since(start)
	return s
}

func (c *Client) create(ctx context.Context, ordinal int) (Outcome, string) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(c.bodies[ordinal]))
	if err != nil {
		return Unavailable, err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return Unavailable, Cause(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Unavailable, Cause(err)
	}
	return classify(response.StatusCode, body, group(ordinal))
}
