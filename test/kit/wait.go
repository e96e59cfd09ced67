package kit

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// interval is how often it is looked whether what is waited for has happened.
const interval = 50 * time.Millisecond

// Until polls until done returns nil. When the limit is reached, done's last error says why not.
func Until(ctx context.Context, limit time.Duration, done func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, interval, limit, true, func(ctx context.Context) (bool, error) {
		// What the end of ctx makes of the last attempt explains nothing; the second text is that of
		// client-go's rate limiter.
		if err := done(ctx); err == nil || last == nil || ctx.Err() == nil && !strings.Contains(err.Error(), "would exceed context deadline") {
			last = err
		}
		return last == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w; last: %v", context.Cause(ctx), last)
	case last != nil:
		return fmt.Errorf("after %s: %w", limit, last)
	}
	return err
}

// Eventually is Until for what must happen, or the test ends.
func (s *Suite) Eventually(t *testing.T, limit time.Duration, done func() error) {
	t.Helper()
	Must(t, Until(s.Ctx, limit, func(context.Context) error { return done() }))
}

// Pause lets time pass, for instance for a load.
func (s *Suite) Pause(d time.Duration) { _ = Sleep(s.Ctx, d) }

// Sleep waits, or fails when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Must ends the test if there is an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
