package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"sts-mutating-webhook/internal/plan"
)

// planCommand is the command that shows where pods would go.
type planCommand struct {
	files []string
	diff  string
	// cluster asks a cluster for nodes and volumes; live takes the StatefulSets from it, too.
	cluster, live bool
	liveSets
	clusterFlags
	outputFlag
	decisionFlags

	stdin io.Reader
	// dial replaces connect in tests.
	dial func() (client.Client, string, error)
}

// diffCluster is the value of a --diff without one: compare with the cluster.
const diffCluster = "cluster"

func newPlan() *planCommand {
	c := &planCommand{stdin: os.Stdin}
	c.dial = c.connect
	return c
}

func (c *planCommand) addFlags(g *flagGroups) {
	f := g.group("Plan")
	f.StringArrayVarP(&c.files, "filename", "f", nil, "file with StatefulSets, YAML or JSON, other kinds are passed over; - is standard input; may be repeated")
	f.StringVar(&c.diff, "diff", "", "show only the ordinals that move: against the cluster, or with --diff=FILE against a file with the StatefulSets as they are")
	f.Lookup("diff").NoOptDefVal = diffCluster
	f.BoolVar(&c.cluster, "cluster", false, "with --filename: ask the cluster which nodes take the pods, which pods a partition holds back, and where volumes are bound")
	c.addAll(f, "with the argument statefulset: those of all namespaces")
	c.clusterFlags.addFlags(f)
	c.addNamespace(f, "namespace of the StatefulSets that name none; empty means default, or that of the kubeconfig's context")
	c.outputFlag.addFlags(f)
	c.addExistingSelector(f)
}

func (c *planCommand) validate() error {
	errs := append(c.validateLive(), c.liveSets.validate(), c.decisionFlags.validate(), c.outputFlag.validate())
	stdin := 0
	for _, file := range slices.Concat(c.files, []string{c.diff}) {
		if file == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		errs = append(errs, errors.New("--filename=-: standard input can be read only once"))
	}
	return errors.Join(errs...)
}

// run prints the plan, or what moves, to stdout. What is wrong stands in the rows,
// or on stderr where these have no room for it. An error in a StatefulSet is one of
// the command, a warning is not.
func (c *planCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	var cl client.Client
	if c.connected() {
		var err error
		var namespace string
		if cl, namespace, err = c.dial(); err != nil {
			return err
		}
		c.namespace = cmp.Or(c.namespace, namespace)
	}
	c.namespace = cmp.Or(c.namespace, "default")
	manifests, err := c.readFiles(c.files)
	if c.live {
		manifests, err = c.fromCluster(ctx, cl)
	}
	if err != nil {
		return err
	}
	options := plan.Options{ReplaceExisting: c.replaces()}
	if cl != nil {
		if options.Current, err = heldBack(ctx, cl, manifests.StatefulSets); err != nil {
			return err
		}
	}
	rows := plan.Rows(manifests.StatefulSets, options)
	if cl != nil {
		if err := compareWithCluster(ctx, cl, manifests.StatefulSets, rows); err != nil {
			return err
		}
	}
	if c.diff != "" {
		err = c.printDiff(ctx, stdout, stderr, cl, manifests, options)
	} else {
		err = plan.Print(stdout, c.output, rows)
	}
	if err != nil {
		return err
	}
	err = c.problems(stderr, rows)
	if c.table() && c.diff == "" {
		fmt.Fprintln(stderr, summary(manifests, rows))
	}
	return err
}

// table reports whether people read the output.
func (c *planCommand) table() bool { return c.output == "table" || c.output == "wide" }

func (c *planCommand) printDiff(ctx context.Context, stdout, stderr io.Writer, cl client.Reader, after *plan.Manifests, options plan.Options) error {
	var before *plan.Manifests
	var err error
	if c.diff == diffCluster {
		before, err = counterparts(ctx, cl, after)
	} else {
		before, err = c.readFiles([]string{c.diff})
	}
	if err != nil {
		return err
	}
	moves := plan.Diff(before.StatefulSets, after.StatefulSets, options)
	if c.table() {
		moved := 0
		for _, m := range moves {
			if m.Change == plan.Moved {
				moved++
			}
		}
		fmt.Fprintf(stderr, "moved: %d of %s\n", moved, count(pods(plan.Rows(after.StatefulSets, options)), "pod"))
	}
	return plan.PrintMoves(stdout, c.output, moves)
}

// problems returns an error if there is one in the rows. It writes each problem to
// w, the same one of several pods once, unless they stand in the output.
func (c *planCommand) problems(w io.Writer, rows []plan.Row) error {
	found, printed := 0, map[string]bool{}
	for _, row := range rows {
		for _, p := range row.Problems {
			if p.Severity == plan.Error {
				found++
			}
			line := fmt.Sprintf("%s: statefulset %s/%s: %s: %s", p.Severity, row.Namespace, row.StatefulSet, p.Field, p.Message)
			if !printed[line] && (c.output == "table" || c.diff != "") {
				fmt.Fprintln(w, line)
				printed[line] = true
			}
		}
	}
	if found > 0 {
		return errors.New(count(found, "error"))
	}
	return nil
}

// readFiles reads files, of which one may be standard input.
func (c *planCommand) readFiles(files []string) (*plan.Manifests, error) {
	m := &plan.Manifests{}
	for _, name := range files {
		if err := c.readOne(m, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (c *planCommand) readOne(m *plan.Manifests, name string) error {
	if name == "-" {
		if err := m.Read(c.stdin, c.namespace); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		return nil
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read StatefulSets: %w", err)
	}
	defer file.Close()
	if err := m.Read(file, c.namespace); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// summary says what was read.
func summary(m *plan.Manifests, rows []plan.Row) string {
	sets := map[[2]string]bool{}
	for _, row := range rows {
		sets[[2]string{row.Namespace, row.StatefulSet}] = true
	}
	text := count(len(sets), "StatefulSet") + " with " + count(pods(rows), "pod")
	var others []string
	if n := len(m.StatefulSets) - len(sets); n > 0 {
		others = append(others, fmt.Sprintf("%d StatefulSet without the label", n))
	}
	for _, kind := range slices.Sorted(maps.Keys(m.Others)) {
		others = append(others, fmt.Sprintf("%d %s", m.Others[kind], kind))
	}
	if len(others) > 0 {
		text += "; passed over: " + strings.Join(others, ", ")
	}
	return text
}

// pods counts the rows that are about a pod.
func pods(rows []plan.Row) (n int) {
	for _, row := range rows {
		if row.Ordinal != nil {
			n++
		}
	}
	return n
}

// count is "1 pod", "2 pods".
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
