package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
)

// soft is the rule as a preference.
func soft(rule string) string {
	return strings.Replace(rule, `}`, `,"whenUnsatisfiable":"ScheduleAnyway"}`, 1)
}

func movesOf(t *testing.T, before, after appsv1.StatefulSet) []string {
	t.Helper()
	var lines []string
	for _, m := range Diff([]appsv1.StatefulSet{before}, []appsv1.StatefulSet{after}, Options{}) {
		lines = append(lines, fmt.Sprintf("%s %s: %s -> %s", m.Pod, m.Change, m.From.String(), m.To.String()))
	}
	return lines
}

func TestGrowingFromTwoToThreeValuesMovesTwoThirds(t *testing.T) {
	before, after := setOf(t, `{"key":"zone","values":["a","b"]}`, `replicas: 6`, ``), setOf(t, `{"key":"zone","values":["a","b","c"]}`, `replicas: 6`, ``)
	want := []string{"web-2 moved: zone=a -> zone=c", "web-3 moved: zone=b -> zone=a", "web-4 moved: zone=a -> zone=b", "web-5 moved: zone=b -> zone=c"}
	if diff := cmp.Diff(want, movesOf(t, before, after)); diff != "" {
		t.Errorf("moves differ (-want +got):\n%s", diff)
	}
}

func TestMoves(t *testing.T) {
	const zones = `{"key":"zone","values":["a","b"]}`
	for sentence, c := range map[string]struct {
		before, after appsv1.StatefulSet
		want          []string
	}{
		"the same moves nothing":                {setOf(t, zones, `replicas: 9`, ``), setOf(t, zones, `replicas: 9`, ``), nil},
		"another form of the same is the same":  {setOf(t, zones, `replicas: 9`, ``), setOf(t, `{"key":"zone","even":"a","odd":"b"}`, `replicas: 9`, ``), nil},
		"a toleration moves nothing":            {setOf(t, zones, ``, ``), setOf(t, strings.Replace(zones, `}`, `,"tolerate":"NoSchedule"}`, 1), ``, ``), nil},
		"more replicas are added":               {setOf(t, zones, `replicas: 1`, ``), setOf(t, zones, `replicas: 2`, ``), []string{"web-1 added: <none> -> zone=b"}},
		"fewer are removed":                     {setOf(t, zones, `replicas: 2`, ``), setOf(t, zones, `replicas: 1`, ``), []string{"web-1 removed: zone=b -> <none>"}},
		"another start does both":               {setOf(t, zones, `replicas: 2`, ``), setOf(t, zones, `replicas: 2, ordinals: {start: 1}`, ``), []string{"web-0 removed: zone=a -> <none>", "web-2 added: <none> -> zone=a"}},
		"a preference is another place":         {setOf(t, zones, ``, ``), setOf(t, soft(zones), ``, ``), []string{"web-0 moved: zone=a -> preferred zone=a"}},
		"another preference is one, too":        {setOf(t, soft(zones), `replicas: 2`, ``), setOf(t, soft(`{"key":"zone","values":["a","c"]}`), `replicas: 2`, ``), []string{"web-1 moved: preferred zone=b -> preferred zone=c"}},
		"the template's own selector counts":    {setOf(t, zones, ``, ``), setOf(t, zones, ``, `nodeSelector: {disk: ssd}`), []string{"web-0 moved: zone=a -> disk=ssd,zone=a"}},
		"opting in moves":                       {optedOut(t), setOf(t, zones, ``, ``), []string{"web-0 moved: <none> -> zone=a"}},
		"opting out moves":                      {setOf(t, zones, ``, ``), optedOut(t), []string{"web-0 moved: zone=a -> <none>"}},
		"what nobody opted in is not looked at": {optedOut(t), optedOut(t), nil},
		"a pod may be refused":                  {setOf(t, zones, `replicas: 2`, ``), setOf(t, `{"key":"zone","ordinals":{"0":"a"}}`, `replicas: 2`, ``), []string{"web-1 refused: zone=b -> <none>"}},
		"and come back":                         {setOf(t, `{"key":"zone","ordinals":{"0":"a"}}`, `replicas: 2`, ``), setOf(t, zones, `replicas: 2`, ``), []string{"web-1 added: <none> -> zone=b"}},
		"and stay refused":                      {setOf(t, `{"key":"zone","ordinals":{"1":"a"}}`, ``, ``), setOf(t, `{"key":"zone","ordinals":{"2":"a"}}`, ``, ``), nil},
		"of an error nothing is known":          {setOf(t, zones, `replicas: 2`, ``), setOf(t, `{`, `replicas: 2`, ``), nil},
		"after an error all pods are new":       {setOf(t, `{`, ``, ``), setOf(t, zones, ``, ``), []string{"web-0 added: <none> -> zone=a"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(c.want, movesOf(t, c.before, c.after)); diff != "" {
				t.Errorf("moves differ (-want +got):\n%s", diff)
			}
		})
	}
}

// optedOut is web with neither label nor annotation.
func optedOut(t *testing.T) appsv1.StatefulSet {
	set := setOf(t, `x`, ``, ``)
	set.Spec.Template.Labels, set.Spec.Template.Annotations = nil, nil
	return set
}

func TestOnlyTheSameStatefulSetIsCompared(t *testing.T) {
	set := setOf(t, `{"key":"zone","values":["a"]}`, ``, ``)
	other := setOf(t, `{"key":"zone","values":["b"]}`, ``, ``)
	elsewhere := *other.DeepCopy()
	other.Name, elsewhere.Namespace = "db", "other"
	if got := Diff([]appsv1.StatefulSet{other, elsewhere}, []appsv1.StatefulSet{set}, Options{}); len(got) > 0 {
		t.Errorf("got %+v, want no moves", got)
	}
}

func TestMovesArePrintedAsKept(t *testing.T) {
	before, after := setOf(t, `{"key":"zone","values":["a","b"]}`, `replicas: 3`, ``), setOf(t, `[{"key":"zone","values":["a","b","c"]},{"key":"disk","values":["ssd"],"tolerate":"NoSchedule"}]`, `replicas: 4`, ``)
	moves := Diff([]appsv1.StatefulSet{before}, []appsv1.StatefulSet{after}, Options{})
	for _, format := range []string{"table", "json"} {
		var out strings.Builder
		if err := PrintMoves(&out, format, moves); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, "testdata/moves."+format+".golden", out.String())
	}
}
