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
	never := errors.New("two of three")
	for name, test := range map[string]struct {
		done func(calls int) error
		want string // "" is no error
	}{
		"what is done at once needs no second look": {func(int) error { return nil }, ""},
		"what is done at the fifth look":            {func(calls int) error { return map[bool]error{true: never}[calls < 5] }, ""},
		"what is never done says its last error":    {func(int) error { return never }, "after 1s: two of three"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, got := 0, ""
				err := Until(t.Context(), time.Second, func(context.Context) error { calls++; return test.done(calls) })
				if err != nil {
					got = err.Error()
				}
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the suite has taken 1s"))
		defer cancel()
		err := Until(ctx, time.Hour, func(context.Context) error { return errors.New("two of three") })
		for _, want := range []string{"the suite has taken 1s", "two of three"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		}
	})
}
