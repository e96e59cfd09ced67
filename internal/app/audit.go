package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/audit"
	"sts-mutating-webhook/internal/placement"
	"sts-mutating-webhook/internal/plan"
)

// auditCommand compares the pods of a cluster with their rules.
type auditCommand struct {
	liveSets
	clusterFlags
	outputFlag
	decisionFlags

	// dial replaces connect in tests.
	dial func() (client.Client, string, error)
}

func newAudit() *auditCommand {
	c := &auditCommand{}
	c.dial = c.connect
	return c
}

func (c *auditCommand) addFlags(g *flagGroups) {
	f := g.group("Audit")
	c.addAll(f, "look at all namespaces")
	c.addNamespace(f, "namespace to look at; empty means that of the kubeconfig's context")
	c.clusterFlags.addFlags(f)
	c.outputFlag.addFlags(f)
	c.addExistingSelector(f)
}

func (c *auditCommand) takeArguments(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return c.take(args)
}

func (c *auditCommand) validate() error {
	return errors.Join(c.liveSets.validate(), c.decisionFlags.validate(), c.outputFlag.validate())
}

// run prints the findings to stdout. One is an error of the command.
func (c *auditCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	cl, namespace, err := c.dial()
	if err != nil {
		return err
	}
	c.namespace = cmp.Or(c.namespace, namespace, "default")
	snapshot, err := c.snapshot(ctx, cl)
	if err != nil {
		return err
	}
	report := audit.Make(snapshot, plan.Options{ReplaceExisting: c.replaces()})
	if err := audit.Print(stdout, c.output, report.Findings); err != nil {
		return err
	}
	if report.Unowned > 0 {
		fmt.Fprintf(stderr, "passed over: %s that no StatefulSet controls\n", count(report.Unowned, "opted-in pod"))
	}
	seen := count(report.Pods, "pod") + " of " + count(report.StatefulSets, "StatefulSet")
	if n := len(report.Findings); n > 0 {
		return fmt.Errorf("%s: %s", seen, count(n, "finding"))
	}
	fmt.Fprintf(stderr, "%s: no findings\n", seen)
	return nil
}

// snapshot reads what the audit needs. Nodes come after the pods, so that the node of a new pod is among them.
func (c *auditCommand) snapshot(ctx context.Context, cl client.Client) (*audit.Snapshot, error) {
	s := &audit.Snapshot{}
	var err error
	if s.StatefulSets, err = c.read(ctx, cl); err != nil {
		return nil, err
	}
	if s.Pods, err = c.pods(ctx, cl, s.StatefulSets); err != nil {
		return nil, err
	}
	newPage := func() *corev1.NodeList { return &corev1.NodeList{} }
	err = listPages(ctx, cl, newPage, func(page *corev1.NodeList) {
		for i := range page.Items {
			s.Nodes = append(s.Nodes, stripNode(&page.Items[i]))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	if s.Current, err = heldBack(ctx, cl, s.StatefulSets); err != nil {
		return nil, err
	}
	return s, nil
}

// pods lists the opted-in pods. Only of a StatefulSet that opted in and has others, which were created before, all are listed.
func (c *auditCommand) pods(ctx context.Context, cl client.Client, sets []appsv1.StatefulSet) (pods []corev1.Pod, err error) {
	byUID := map[types.UID]*appsv1.StatefulSet{}
	for i := range sets {
		byUID[sets[i].UID] = &sets[i]
	}
	owned := map[types.UID]int32{}
	keep := func(pod *corev1.Pod) {
		owner := audit.Owner(pod)
		if owner != nil {
			owned[owner.UID]++
		}
		if len(c.names) == 0 || owner != nil && byUID[owner.UID] != nil {
			pods = append(pods, audit.StripPod(pod))
		}
	}
	namespace := c.namespace
	if c.all {
		namespace = ""
	}
	optedIn := client.MatchingLabels{placement.Label: placement.LabelValue}
	if err := listPods(ctx, cl, keep, client.InNamespace(namespace), optedIn); err != nil {
		return nil, err
	}
	for i := range sets {
		set := &sets[i]
		if !audit.OptedIn(set.Spec.Template.Labels) || owned[set.UID] >= set.Status.Replicas {
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("read selector of StatefulSet %s/%s: %w", set.Namespace, set.Name, err)
		}
		older := func(pod *corev1.Pod) {
			if owner := audit.Owner(pod); owner != nil && owner.UID == set.UID && !audit.OptedIn(pod.Labels) {
				pods = append(pods, audit.StripPod(pod))
			}
		}
		if err := listPods(ctx, cl, older, client.InNamespace(set.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

func listPods(ctx context.Context, cl client.Client, each func(*corev1.Pod), o ...client.ListOption) error {
	newPage := func() *corev1.PodList { return &corev1.PodList{} }
	err := listPages(ctx, cl, newPage, func(page *corev1.PodList) {
		for i := range page.Items {
			each(&page.Items[i])
		}
	}, o...)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	return nil
}
