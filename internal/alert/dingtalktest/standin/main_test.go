package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheStandInServesAndEnds(t *testing.T) {
	robot, control := listen(t), listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, dingtalktest.New(dingtalktest.Options{Token: "abcdefgh"}), robot, control) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	body := strings.NewReader(`{"msgtype":"text","text":{"content":"x"}}`)
	response, err := client.Post("http://"+robot.Addr().String()+"/robot/send?access_token=abcdefgh", "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	response, err = client.Get("http://" + control.Addr().String() + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(text), `"accepted":1`) {
		t.Errorf("stats %s, error %v, want one accepted message", text, err)
	}
	_ = response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve returned %v, want nil", err)
	}
}

func TestTheStandInSaysWhatIsWrong(t *testing.T) {
	for _, args := range [][]string{{"--nonsense"}, {"--listen", "127.0.0.1:x"}, {"--listen", "127.0.0.1:0", "--control", "127.0.0.1:x"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("run(%v) returned nil, want an error", args)
		}
	}
}

// listen returns a listener on a free loopback port.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
