package webhook

import (
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestSum(t *testing.T) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(`# TYPE calls_total counter
calls_total{result="placed",reason=""} 3
calls_total{result="denied",reason="a"} 4
calls_total{result="denied",reason="b"} 5
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		labels map[string]string
		want   float64
	}{
		"no labels mean every series":          {nil, 12},
		"one label selects its series":         {map[string]string{"result": "denied"}, 9},
		"two labels select what carries both":  {map[string]string{"result": "denied", "reason": "b"}, 5},
		"an empty value is a value":            {map[string]string{"reason": ""}, 3},
		"a label that no series has is a zero": {map[string]string{"code": "403"}, 0},
	} {
		if got := sum(families["calls_total"], test.labels); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
