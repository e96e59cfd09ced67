package kit

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sts-mutating-webhook/internal/alert/dingtalktest"
)

// Robot is a stand-in for DingTalk where pods can reach it. A webhook that is to report to it needs --dingtalk-allow-http.
type Robot struct {
	*dingtalktest.Robot
	// URL is what a user copies from the robot's settings, Token the end of it, and Secret the key of the signature.
	URL, Token, Secret string
}

// StartRobot serves a robot with a token and a secret of its own until the test ends.
func (s *Suite) StartRobot(t *testing.T, o dingtalktest.Options) *Robot {
	t.Helper()
	listener, err := s.Cluster.Listen("node-1", "tcp", s.Cluster.NodeIP("node-1")+":0")
	Must(t, err)
	o.Token, o.Secret = strings.ToLower(rand.Text()+rand.Text()), "SEC"+rand.Text()
	robot := dingtalktest.New(o)
	server := &http.Server{Handler: robot, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		Must(t, server.Close()) // it ends calls that hang by design
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("robot: %v", err)
		}
	})
	url := "http://" + listener.Addr().String() + "/robot/send?access_token=" + o.Token
	return &Robot{Robot: robot, URL: url, Token: o.Token, Secret: o.Secret}
}

// Texts is the text of everything that the robot accepted.
func (r *Robot) Texts() string {
	var all []string
	for _, m := range r.Messages() {
		all = append(all, m.Text)
	}
	return strings.Join(all, "\n")
}
