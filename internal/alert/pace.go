package alert

import "time"

// DingTalk counts 20 messages a minute to a robot over all senders, and is silent for
// 10 minutes afterwards.
const (
	robotLimit = 20
	// rateWindow is that minute, taken 3 s longer for calls that travel differently long.
	rateWindow = 63 * time.Second
)

// pace keeps one process within its share of the robot's limit: at most share calls
// in any rateWindow, retries and the last message included. There is no knowledge of
// other processes: with a share of 4, any five together stay within the limit.
//
// One call of the share is in reserve for trouble of the webhook itself and for the last
// message. A new process begins as if it had called evenly until now, so that pods which
// follow each other quickly in a rollout cannot each spend a whole share: refusals and
// placements wait for a part of the window, and the reserve is not for the last message.
type pace struct {
	started time.Time
	calls   []time.Time // of the last calls, oldest first; as many as the share
}

func newPace(share int, now time.Time) *pace {
	p := &pace{started: now}
	for n := range share {
		p.calls = append(p.calls, now.Add(-rateWindow+rateWindow*time.Duration(n)/time.Duration(share)))
	}
	return p
}

// free returns from when on a call may be made, with keepReserve set one that leaves the
// reserve. A share of one has none.
func (p *pace) free(keepReserve bool) time.Time {
	if keepReserve && len(p.calls) > 1 {
		return p.calls[1].Add(rateWindow)
	}
	return p.calls[0].Add(rateWindow)
}

// freeLast returns from when on the last message may be sent.
func (p *pace) freeLast(now time.Time) time.Time {
	return p.free(now.Sub(p.started) < rateWindow)
}

// take notes a call.
func (p *pace) take(now time.Time) {
	p.calls = append(p.calls[1:], now)
}
