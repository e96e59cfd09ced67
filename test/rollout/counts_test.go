package rollout

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMisplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		form     form
		pod      string
		selector map[string]string
		want     string
	}{
		"a pod on the node of its ordinal":  {byList, "by-list-5", map[string]string{"name": "node3"}, ""},
		"a pod on another one's node":       {byParity, "by-parity-5", map[string]string{"name": "node1"}, "node selector of by-parity-5: got map[name:node1], want map[name:node2]"},
		"a pod that no webhook saw":         {byParity, "by-parity-0", nil, "node selector of by-parity-0: got map[], want map[name:node1]"},
		"a pod with one more node selector": {byList, "by-list-0", map[string]string{"name": "node1", "disk": "ssd"}, "node selector of by-list-0: got map[disk:ssd name:node1], want map[name:node1]"},
		"a pod of another StatefulSet":      {byList, "by-parity-0", map[string]string{"name": "node1"}, "by-parity-0 is no pod of by-list"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: tc.pod}, Spec: corev1.PodSpec{NodeSelector: tc.selector}}
			if got := tc.form.misplaced(pod); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestRefusedAs(t *testing.T) {
	for name, tc := range map[string]struct {
		event, message string
		want           bool
	}{
		"a refusal by the previous version":     {"create Pod by-list-0 in StatefulSet by-list failed error: " + refusal, refusal, true},
		"a call that failed":                    {`create Pod by-list-0 in StatefulSet by-list failed error: Internal error occurred: failed calling webhook`, refusal, false},
		"a refusal where no refusal is allowed": {"create Pod by-parity-0 in StatefulSet by-parity failed error: " + refusal, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := refusedAs(tc.event, tc.message); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestBothAnswered(t *testing.T) {
	between := func(first, last int) span {
		return span{n: 2, first: time.Unix(int64(first), 0), last: time.Unix(int64(last), 0)}
	}
	for name, tc := range map[string]struct {
		placed, refused span
		want            time.Duration
	}{
		"during an upgrade":              {between(10, 30), between(0, 14), 4 * time.Second},
		"on the way back":                {between(0, 14), between(10, 30), 4 * time.Second},
		"one version after the other":    {between(10, 30), between(0, 9), 0},
		"one version that never answers": {between(10, 30), span{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&traffic{placed: tc.placed, refused: tc.refused}).bothAnswered(); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
