package placement

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// A StatefulSet is scaled one ordinal at a time, so its pods should be spread
// evenly at every count on the way, from any spec.ordinals.start.
func TestValuesKeepTheSpreadWithinOneAtEveryReplicaCount(t *testing.T) {
	for n := 1; n <= 40; n++ {
		var values []string
		for i := range n {
			values = append(values, fmt.Sprintf("v%d", i))
		}
		rules, err := Parse([]byte(`{"key":"k","values":["` + strings.Join(values, `","`) + `"]}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, start := range []int{0, 1, 7, 1000, MaxOrdinal - 200} {
			pods := map[string]int{}
			for _, v := range values {
				pods[v] = 0
			}
			for replicas := 1; replicas <= 200; replicas++ {
				value, err := rules[0].Value(int32(start + replicas - 1))
				if err != nil {
					t.Fatal(err)
				}
				pods[value]++
				counts := slices.Sorted(maps.Values(pods))
				if len(pods) != n || counts[n-1]-counts[0] > 1 {
					t.Fatalf("%d values, %d replicas from ordinal %d: got the spread %v", n, replicas, start, pods)
				}
			}
		}
	}
}

func TestGrowingFromTwoToThreeValuesMovesTwoThirds(t *testing.T) {
	two, three := Rule{values: []string{"a", "b"}}, Rule{values: []string{"a", "b", "c"}}
	moved := 0
	for ordinal := range int32(600) {
		before, _ := two.Value(ordinal)
		after, _ := three.Value(ordinal)
		if before != after {
			moved++
		}
	}
	if moved != 400 {
		t.Errorf("got %d of 600 ordinals that move, want 400", moved)
	}
}

func TestOrdinalIsAPlainDecimalAfterTheOwner(t *testing.T) {
	for _, c := range []struct {
		pod, statefulSet string
		want             int32
		problem          string
	}{
		{"web-0", "web", 0, ""},
		{"web-10", "web", 10, ""},
		{"db-2-1", "db-2", 1, ""},
		{"web-web-5", "web-web", 5, ""},
		{"web-2147483647", "web", math.MaxInt32, ""},
		{"web-2147483648", "web", 0, `"2147483648" is above 2147483647`},
		{"web-99999999999999999999", "web", 0, `"99999999999999999999" is above 2147483647`},
		{"web-01", "web", 0, `"01" has a leading zero`},
		{"web-+1", "web", 0, `"+1" is not a decimal number`},
		{"web-1_0", "web", 0, `"1_0" is not a decimal number`},
		{"db-2-1", "db", 0, `"2-1" is not a decimal number`},
		{"web-", "web", 0, `no ordinal follows "web-"`},
		{"web", "web", 0, `its name does not start with "web-"`},
	} {
		got, err := Ordinal(c.pod, c.statefulSet)
		problem := ""
		if err != nil {
			problem = err.Error()
		}
		if got != c.want || problem != c.problem {
			t.Errorf("Ordinal(%q, %q) = %d, %q, want %d, %q", c.pod, c.statefulSet, got, problem, c.want, c.problem)
		}
	}
}

// The short cuts must say what apimachinery says.
func FuzzLabels(f *testing.F) {
	for _, seed := range []string{
		"", "a", "A", "-", "a-", "_a", "a.b", "a..b", "a_b-c.d", "a/b", "a/", "/a", "a/b/c", "A.b/c", "a.b/c", "a-/c", "a..b/c", "é", "a\n", "a\x00", "1", "a/-",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 253) + "/a", strings.Repeat("a", 254) + "/a", strings.Repeat("a", 253), strings.Repeat("a", 254),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range []struct {
			name         string
			ours, theirs []string
		}{
			{"value", []string{valueProblem(text)}, content.IsLabelValue(text)},
			{"key", []string{keyProblem(text)}, content.IsLabelKey(text)},
			{"name", []string{NameProblem(text)}, content.IsDNS1123Subdomain(text)},
		} {
			if got, want := strings.Join(c.ours, "; "), strings.Join(c.theirs, "; "); got != want {
				t.Errorf("%s %q: got %q, want %q", c.name, text, got, want)
			}
		}
	})
}
