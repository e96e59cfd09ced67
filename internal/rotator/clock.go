package rotator

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// maxSkew is how far our clock may be from the apiserver's before we refuse to
// rotate: a certificate made by such a clock may be invalid for everyone else.
const maxSkew = 5 * time.Minute

// dateResolution is what a Date header cannot tell (RFC 9110, section 5.6.7:
// whole seconds) plus an ordinary round trip.
const dateResolution = 2 * time.Second

// skewClock tells the time as the apiserver sees it.
type skewClock struct {
	local func() time.Time
	skew  atomic.Int64 // local minus apiserver, in nanoseconds; 0 until known
}

// Skew is how far the local clock is ahead of the apiserver's, zero when the
// difference is within the resolution of the measurement.
func (c *skewClock) Skew() time.Duration { return time.Duration(c.skew.Load()) }

// Now is the apiserver's time where the local clock is wrong, else local time.
func (c *skewClock) Now() time.Time {
	if c.trouble() != nil {
		return c.local().Add(-c.Skew())
	}
	return c.local()
}

// trouble is an error while the clock is too wrong to rotate.
func (c *skewClock) trouble() error {
	if skew := c.Skew(); skew > maxSkew || skew < -maxSkew {
		return fmt.Errorf("the node's clock differs from the apiserver's by %s, the limit is %s: "+
			"nothing is rotated until the node's time is set right", skew.Round(time.Second), maxSkew)
	}
	return nil
}

// observe learns from one answer of the apiserver, received at the time given.
func (c *skewClock) observe(date string, received time.Time) {
	server, err := http.ParseTime(date)
	if err != nil {
		return
	}
	skew := received.Sub(server)
	if skew.Abs() <= dateResolution {
		skew = 0
	}
	c.skew.Store(int64(skew))
}

// wrap lets the clock see every answer's Date header.
func (c *skewClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil {
			c.observe(resp.Header.Get("Date"), c.local())
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
