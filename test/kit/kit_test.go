package kit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	for name, test := range map[string]struct {
		calls int // of them, the last one succeeds
		limit time.Duration
		want  string // is in the error; "" is none
	}{
		"what is done at once needs no second look": {1, time.Second, ""},
		"what is done at the fifth look":            {5, time.Second, ""},
		"what is never done says its last error":    {1000, time.Second, "after 1s: two of three"},
		"the end of the context says both":          {1000, time.Hour, "the suite has taken 2s; last: two of three"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("the suite has taken 2s"))
			defer cancel()
			calls, got := 0, ""
			err := Until(ctx, test.limit, func(context.Context) error {
				if calls++; calls < test.calls {
					return errors.New("two of three")
				}
				return nil
			})
			if err != nil {
				got = err.Error()
			}
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) || err == nil && calls != test.calls {
				t.Errorf("%s: got %q after %d calls, want %q", name, got, calls, test.want)
			}
		})
	}
}
