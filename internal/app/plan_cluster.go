package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/inventory"
	"sts-mutating-webhook/internal/plan"
)

// clusterFlags name a cluster as kubectl's flags do.
type clusterFlags struct{ kubeconfig, context string }

func (c *clusterFlags) addFlags(f *pflag.FlagSet) {
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; empty means what kubectl would use")
	f.StringVar(&c.context, "context", "", "kubeconfig context; empty means the current one")
}

func (c *clusterFlags) load() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context})
}

// planScheme adds what the webhook itself does not read.
func planScheme() *runtime.Scheme {
	s := scheme()
	utilruntime.Must(appsv1.AddToScheme(s))
	return s
}

// connect returns a client, and the namespace of the kubeconfig's context.
func (c *clusterFlags) connect() (client.Client, string, error) {
	config := c.load()
	rest, err := config.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("load kubeconfig: %w", err)
	}
	namespace, _, err := config.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("load kubeconfig: %w", err)
	}
	cl, err := client.New(rest, client.Options{Scheme: planScheme(), Mapper: mapper()})
	if err != nil {
		return nil, "", fmt.Errorf("create client: %w", err)
	}
	return cl, namespace, nil
}

// takeArguments reads what of the cluster is to be planned.
func (c *planCommand) takeArguments(args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.live = true
	return c.take(args)
}

// validateLive reports what does not go together.
func (c *planCommand) validateLive() (errs []error) {
	if c.live == (len(c.files) > 0) {
		errs = append(errs, errors.New("--filename: give a file, - for standard input, or the argument statefulset for those of a cluster"))
	}
	if c.live && c.diff != "" {
		errs = append(errs, fmt.Errorf("--diff=%s: needs --filename", c.diff))
	}
	if c.all && !c.live {
		errs = append(errs, errors.New("--all-namespaces=true: needs the argument statefulset"))
	}
	return errs
}

// connected reports whether a cluster is asked.
func (c *planCommand) connected() bool { return c.live || c.cluster || c.diff == diffCluster }

// fromCluster reads the StatefulSets that the arguments name.
func (c *planCommand) fromCluster(ctx context.Context, cl client.Reader) (*plan.Manifests, error) {
	sets, err := c.read(ctx, cl)
	return &plan.Manifests{StatefulSets: sets}, err
}

// counterparts reads the StatefulSets of the cluster that have the names of those in m; ones that do not exist yet are left out.
func counterparts(ctx context.Context, cl client.Reader, m *plan.Manifests) (*plan.Manifests, error) {
	old := &plan.Manifests{}
	for i := range m.StatefulSets {
		key := client.ObjectKeyFromObject(&m.StatefulSets[i])
		var set appsv1.StatefulSet
		switch err := cl.Get(ctx, key, &set); {
		case err == nil:
			old.StatefulSets = append(old.StatefulSets, set)
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("get StatefulSet %s: %w", key, err)
		}
	}
	return old, nil
}

// heldBack returns the pod templates that the cluster's StatefulSets create the pods below their partition from.
func heldBack(ctx context.Context, cl client.Reader, sets []appsv1.StatefulSet) (map[types.NamespacedName]*corev1.PodTemplateSpec, error) {
	templates := map[types.NamespacedName]*corev1.PodTemplateSpec{}
	for i := range sets {
		if plan.HeldBack(&sets[i]) == 0 {
			continue
		}
		key := client.ObjectKeyFromObject(&sets[i])
		var live appsv1.StatefulSet // a file need not know the status
		switch err := cl.Get(ctx, key, &live); {
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("get StatefulSet %s: %w", key, err)
		case err != nil, live.Status.CurrentRevision == "":
			continue // all pods are still to be created from the newest template
		}
		template, err := templateOf(ctx, cl, client.ObjectKey{Namespace: key.Namespace, Name: live.Status.CurrentRevision})
		if err != nil {
			return nil, err
		}
		templates[key] = template
	}
	return templates, nil
}

// templateOf reads the pod template that a revision of a StatefulSet holds.
func templateOf(ctx context.Context, cl client.Reader, revision client.ObjectKey) (*corev1.PodTemplateSpec, error) {
	var r appsv1.ControllerRevision
	if err := cl.Get(ctx, revision, &r); err != nil {
		return nil, fmt.Errorf("get ControllerRevision %s: %w", revision, err)
	}
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("read ControllerRevision %s: %w", revision, err)
	}
	return &data.Spec.Template, nil
}

// compareWithCluster fills in the nodes of the rows, and what the cluster lacks.
func compareWithCluster(ctx context.Context, cl client.Reader, sets []appsv1.StatefulSet, rows []plan.Row) error {
	nodes := &nodeSnapshot{Reader: cl}
	if err := cl.List(ctx, &nodes.list); err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	known := inventory.Inventory{Nodes: nodes, Volumes: cl}
	for i := range sets {
		first := slices.IndexFunc(rows, func(r plan.Row) bool { return r.Namespace == sets[i].Namespace && r.StatefulSet == sets[i].Name })
		if first < 0 {
			continue
		}
		last := first
		for last < len(rows) && rows[last].Namespace == sets[i].Namespace && rows[last].StatefulSet == sets[i].Name {
			last++
		}
		if err := known.Fill(ctx, &sets[i], rows[first:last]); err != nil {
			return err
		}
	}
	return nil
}

// nodeSnapshot lists the same nodes for every StatefulSet.
type nodeSnapshot struct {
	client.Reader
	list corev1.NodeList
}

func (s *nodeSnapshot) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if nodes, ok := list.(*corev1.NodeList); ok {
		*nodes = s.list
		return nil
	}
	return s.Reader.List(ctx, list, opts...)
}
