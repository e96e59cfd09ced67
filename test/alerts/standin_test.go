package alerts

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/internal/alert/dingtalktest"
	"sts-mutating-webhook/test/cluster"
	"sts-mutating-webhook/test/kit"
)

// standInNamespace is apart, so that the robots' own tokens are not found where
// the webhook's leaks are looked for.
const standInNamespace = "dingtalk"

// improper is the word for which the robots refuse a message.
const improper = "improperword"

// robot is one stand-in in the pod.
type robot struct {
	name    string
	port    int // of the robot; its control is on the next one
	keyword string
	token   string
	secret  string

	address string // of the Service, for the webhook
	podIP   string // for the control
	cluster *cluster.Cluster
}

func newRobot(t *testing.T, name string, port int, keyword string) robot {
	t.Helper()
	random := make([]byte, 48)
	_, err := rand.Read(random)
	kit.Must(t, err)
	text := hex.EncodeToString(random)
	return robot{name: name, port: port, keyword: keyword, token: text[:48], secret: "SEC" + text[48:]}
}

// url is what a user copies from the robot's settings.
func (r robot) url() string {
	return fmt.Sprintf("http://%s:%d/robot/send?access_token=%s", r.address, r.port, r.token)
}

// startStandIn runs the robots as containers of one pod behind one Service.
func (s *suite) startStandIn(t *testing.T) {
	t.Helper()
	s.Namespace(t, standInNamespace)
	robots := []*robot{&s.fleet, &s.trial, &s.strict, &s.team}
	s.fleet = newRobot(t, "fleet", 8080, "")
	s.trial = newRobot(t, "trial", 8090, "")
	s.strict = newRobot(t, "strict", 8100, "no message holds this")
	s.team = newRobot(t, "team", 8110, "")
	labels := map[string]string{"app": "dingtalk"}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "dingtalk", Labels: labels}}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "dingtalk"}, Spec: corev1.ServiceSpec{Selector: labels}}
	for _, r := range robots {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: r.name, Image: standInImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{
				fmt.Sprintf("--listen=:%d", r.port), fmt.Sprintf("--control=:%d", r.port+1),
				"--token=" + r.token, "--secret=" + r.secret, "--keyword=" + r.keyword, "--improper=" + improper,
			},
		})
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: r.name, Port: int32(r.port)})
	}
	_, err := s.Client.CoreV1().Pods(standInNamespace).Create(s.Ctx, pod, metav1.CreateOptions{})
	kit.Must(t, err)
	made, err := s.Client.CoreV1().Services(standInNamespace).Create(s.Ctx, service, metav1.CreateOptions{})
	kit.Must(t, err)
	s.Eventually(t, waitTimeout, func() error {
		pod, err = s.Client.CoreV1().Pods(standInNamespace).Get(s.Ctx, "dingtalk", metav1.GetOptions{})
		if err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("the stand-in is %s", pod.Status.Phase)
		}
		return err
	})
	for _, r := range robots {
		r.address, r.podIP, r.cluster = made.Spec.ClusterIP, pod.Status.PodIP, s.Cluster
	}
	for _, r := range robots {
		s.Eventually(t, waitTimeout, func() error { return r.control(s.Ctx, http.MethodGet, "/stats", &dingtalktest.Stats{}) })
	}
}

// control calls the robot's control address; a nil answer is not read.
func (r robot) control(ctx context.Context, method, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://%s:%d%s", r.podIP, r.port+1, path), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: r.cluster.Dialer("node-1"), DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("control %s: %s", path, response.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func (r robot) behave(ctx context.Context, t *testing.T, b dingtalktest.Behaviour) {
	t.Helper()
	kit.Must(t, r.control(ctx, http.MethodPut, "/behaviour/"+string(b), nil))
}

func (r robot) stats(ctx context.Context, t *testing.T) dingtalktest.Stats {
	t.Helper()
	var s dingtalktest.Stats
	kit.Must(t, r.control(ctx, http.MethodGet, "/stats", &s))
	return s
}

// messages is everything that the robot accepted.
func (r robot) messages(ctx context.Context, t *testing.T) []dingtalktest.Message {
	t.Helper()
	var m []dingtalktest.Message
	kit.Must(t, r.control(ctx, http.MethodGet, "/messages", &m))
	return m
}

// texts is the text of everything that the robot accepted.
func (r robot) texts(ctx context.Context, t *testing.T) string {
	t.Helper()
	var all []string
	for _, m := range r.messages(ctx, t) {
		all = append(all, m.Text)
	}
	return strings.Join(all, "\n")
}
