package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sts-mutating-webhook/internal/plan"
	"sts-mutating-webhook/test/kit"
)

// maxPrinted is how many warnings the webhook prints at most, the last of which counts the rest.
const maxPrinted = 10

// warnings keeps what the API server warns of.
type warnings []string

func (w *warnings) HandleWarningHeader(_ int, _, text string) { *w = append(*w, text) }

// testChecks compares plan with what the webhook says when a StatefulSet is applied: it refuses those with an error, and warns of
// the same, from the nodes that it remembers.
func (s *suite) testChecks(t *testing.T, samples []*sample) {
	kit.Must(t, s.StartChecks(s.Ctx))
	var printed warnings
	config := s.Cluster.RESTConfig()
	config.WarningHandler = &printed
	client, err := kubernetes.NewForConfig(config)
	kit.Must(t, err)
	var sets []*appsv1.StatefulSet
	for _, sample := range samples {
		if sample.set.Namespace == "" {
			set := sample.set.DeepCopy()
			set.Namespace = metav1.NamespaceDefault
			sets = append(sets, set)
		}
	}
	planned := s.planFile(t, sets)
	refused, warned := 0, 0
	for _, set := range sets {
		s.Eventually(t, 30*time.Second, func() error { // the replicas read the nodes first
			printed = nil
			_, err := client.AppsV1().StatefulSets(set.Namespace).Create(s.Ctx, set, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			return compareCheck(planned[keyOf(set)], printed, err)
		})
		if slices.ContainsFunc(planned[keyOf(set)], func(r plan.Row) bool { return r.Refused() }) {
			refused++
		}
		warned += len(printed)
	}
	if refused == 0 || warned == 0 {
		t.Errorf("%d StatefulSets were refused, %d warnings printed: nothing was compared", refused, warned)
	}
	t.Logf("%d StatefulSets were sent to the check, %d of them refused; %d warnings", len(sets), refused, warned)
	kit.Must(t, s.StopChecks(s.Ctx))
}

// compareCheck says what is missing in the answer, of what plan says.
func compareCheck(rows []plan.Row, texts []string, err error) error {
	var errors, others []string
	for _, row := range rows {
		for _, p := range row.Problems {
			switch {
			case p.Severity == plan.Error:
				errors = append(errors, p.Message)
			case p.Field != claimsField: // volumes are not looked at by default
				others = append(others, p.Message)
			}
		}
	}
	switch {
	case len(errors) > 0 && !apierrors.IsInvalid(err):
		return fmt.Errorf("plan says %q, and the answer is %w", errors, err)
	case len(errors) > 0 && !strings.Contains(err.Error(), errors[0]):
		return fmt.Errorf("plan says %q, and the refusal %w", errors[0], err)
	case len(errors) > 0:
		return nil
	case err != nil:
		return fmt.Errorf("plan has no error, and the answer is %w", err)
	}
	for _, message := range others {
		if len(texts) < maxPrinted && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, message) }) {
			return fmt.Errorf("plan warns %q, and kubectl would print %q", message, texts)
		}
	}
	return nil
}
