// Package check says whether an installation of the webhook works, or whether a cluster is fit for one. Make and MakePre are pure:
// what was read of a cluster in, one line per check out. Cluster reads it; it changes nothing, since what it creates are dry runs
// and access reviews.
package check

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"sts-mutating-webhook/internal/output"
)

// Names that manifests/ fix.
const (
	Namespace      = "custom-system"
	name           = "sts-webhook" // of Deployment, Service and service account, and the value of the label app
	entryName      = "sts-webhook.custom-system.svc"
	gatedEntryName = "gated." + entryName
	setsEntryName  = "statefulsets." + entryName
	applyManifests = "kubectl apply -f manifests/"
	describePods   = "kubectl -n custom-system describe pods"
)

// Status of a check. The values are what users' scripts compare with: some may be added, none renamed.
type Status string

// Statuses, the best first. A warning is something that a person should look at although the webhook may work, or something that
// could not be checked; a problem is something that does not work.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Problem Status = "problem"
)

// Result is one line. Its JSON is what users' scripts read: fields may be added, never renamed.
type Result struct {
	// Check is the name of what was checked; the names are kept.
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Message says what was found.
	Message string `json:"message"`
	// Todo says what to do about it; empty if Status is OK.
	Todo string `json:"todo"`
}

// Make checks an installation. Its results have a fixed order and number.
func Make(s *Snapshot) []Result {
	return []Result{
		versions(s).named("version"),
		replicas(s).named("replicas"),
		trust(s).named("trust"),
		statefulSets(s).named("statefulsets"),
		certificates(s).named("certificates"),
		caBundles(s).named("caBundle"),
		serviceAccountRights(s).named("rbac"),
		gate(s).named("gate"),
		alerts(s).named("alerts"),
	}
}

// Count returns how many of the results have the status.
func Count(results []Result, status Status) (n int) {
	for _, r := range results {
		if r.Status == status {
			n++
		}
	}
	return n
}

// Print writes results in one of output.Formats. A table has the way out after the message.
func Print(w io.Writer, format string, results []Result) error {
	return output.Print(w, format, results, []string{"CHECK", "STATUS", "MESSAGE"}, func(r *Result) []string {
		message := r.Message
		if r.Todo != "" {
			message += "; " + r.Todo
		}
		return []string{r.Check, string(r.Status), message}
	})
}

func (r Result) named(check string) Result {
	r.Check = check
	return r
}

func ok(format string, args ...any) Result {
	return Result{Status: OK, Message: fmt.Sprintf(format, args...)}
}

func warning(todo, format string, args ...any) Result {
	return Result{Status: Warning, Todo: todo, Message: fmt.Sprintf(format, args...)}
}

func problem(todo, format string, args ...any) Result {
	return Result{Status: Problem, Todo: todo, Message: fmt.Sprintf(format, args...)}
}

// unread is the result when something that the check needs could not be read, which says nothing about the installation.
func unread(what string, err error) Result {
	if apierrors.IsForbidden(err) {
		return warning("use a kubeconfig with the right to do so", "not checked: it is forbidden to %s", what)
	}
	return warning("run check again; if it stays so, look at the apiserver", "not checked: cannot %s: %v", what, err)
}

// worst returns the first of the results with the worst status.
func worst(results ...Result) Result {
	order := []Status{OK, Warning, Problem}
	return slices.MaxFunc(results, func(a, b Result) int {
		return cmp.Compare(slices.Index(order, a.Status), slices.Index(order, b.Status))
	})
}

// count is as in "1 pod" and "2 pods".
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// list is "a, b and c".
func list(items []string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}
