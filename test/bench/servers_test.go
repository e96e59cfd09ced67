package bench

import (
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sts-mutating-webhook/test/kit"
	"sts-mutating-webhook/test/process"
	"sts-mutating-webhook/test/webhook"
)

// node is where the replicas run that are measured.
const node = "node-1"

// server is one of the programs that are compared.
type server struct {
	name string
	// namespace, app, program and port say where it is on the cluster.
	namespace, app, program, port string
	address                       string
	pid                           int
}

// The indexes of servers, and of the results of measureDirect.
const (
	floor = iota
	ours
	textbook
)

// bench is the cluster with everything that is measured.
type bench struct {
	*kit.Suite
	servers []*server
}

// setUp runs all servers as users do, with one replica of each on the measured node, and finds their processes.
func setUp(t *testing.T) *bench {
	t.Helper()
	programs := map[string]string{"sts-webhook-bench/floor:1": "test/bench/floor", "sts-webhook-test/textbook:1": "test/textbook"}
	b := &bench{
		Suite: kit.Start(t, kit.Options{Name: "bench", Timeout: 40 * time.Minute, Programs: programs}),
		servers: []*server{
			floor:    {name: "floor", namespace: "bench", app: "floor", program: "/program", port: "8443"},
			ours:     {name: "ours", namespace: webhook.Namespace, app: webhook.Deployment, program: "/sts-webhook", port: "8443"},
			textbook: {name: "textbook", namespace: "textbook-system", app: "textbook-webhook", program: "/program", port: "9443"},
		},
	}
	b.Kubectl(t, "apply", "-f", b.Path("test/bench/bench.yaml"), "-f", b.Path("test/textbook/manifests/textbook.yaml"))
	_, err := b.Install(b.Ctx)
	kit.Must(t, err)
	b.startGate(t)
	kit.Must(t, b.Scale(b.Ctx, len(b.Cluster.Nodes())))
	kit.Must(t, b.Restart(b.Ctx)) // a kept cluster may still run an older image
	b.find(t)
	b.trustFloor(t)
	return b
}

// startGate applies what the apiserver does for the gate, in gateNamespace alone. The placer, which no creation waits for, stays off.
func (b *bench) startGate(t *testing.T) {
	t.Helper()
	const scope = `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"` + gateNamespace + `"}}}}}`
	b.Kubectl(t, "apply", "-f", b.Path("manifests/optional/gate/10-policy.yaml"), "-f", b.Path("manifests/optional/gate/20-guard.yaml"))
	b.Kubectl(t, "patch", "mutatingadmissionpolicybinding/sts-webhook-gate", "--type=merge", "-p", scope)
	b.Kubectl(t, "patch", "validatingadmissionpolicybinding/sts-webhook-gate-guard", "--type=merge", "-p", scope)
}

// trustFloor writes the certificate that the floor has made for itself into its webhook configuration.
func (b *bench) trustFloor(t *testing.T) {
	t.Helper()
	c := newCaller(t, b.Cluster.Dialer(node), b.servers[floor].address, 1, nil)
	defer c.close()
	configurations := b.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(b.Ctx, b.servers[floor].namespace, metav1.GetOptions{})
	kit.Must(t, err)
	certificate := &pem.Block{Type: "CERTIFICATE", Bytes: c.conns[0].ConnectionState().PeerCertificates[0].Raw}
	configuration.Webhooks[0].ClientConfig.CABundle = pem.EncodeToMemory(certificate)
	_, err = configurations.Update(b.Ctx, configuration, metav1.UpdateOptions{})
	kit.Must(t, err)
}

// find waits until every server has a Ready replica on the measured node.
func (b *bench) find(t *testing.T) {
	t.Helper()
	for _, s := range b.servers {
		b.Eventually(t, 3*time.Minute, func() error {
			list, err := b.Client.CoreV1().Pods(s.namespace).List(b.Ctx, metav1.ListOptions{
				LabelSelector: "app=" + s.app, FieldSelector: "spec.nodeName=" + node,
			})
			if err != nil {
				return err
			}
			for _, pod := range list.Items {
				if pod.DeletionTimestamp == nil && kit.Ready(pod) {
					s.address = pod.Status.PodIP + ":" + s.port
					s.pid, err = process.PID(pod, s.program)
					return err
				}
			}
			return fmt.Errorf("%s: %d replicas on %s, none of them Ready", s.name, len(list.Items), node)
		})
	}
}
