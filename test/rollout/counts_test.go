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
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: tc.pod}, Spec: corev1.PodSpec{NodeSelector: tc.selector}}
		if got := tc.form.misplaced(pod); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestIsRefusal(t *testing.T) {
	const event = "create Pod by-list-0 in StatefulSet by-list failed error: "
	if !isRefusal(event + refusal) {
		t.Error("a refusal by the previous version was not recognized")
	}
	if isRefusal(event + "Internal error occurred: failed calling webhook") {
		t.Error("a call that failed was taken for a refusal by the previous version")
	}
}

func TestBothAnswered(t *testing.T) {
	seconds := func(at ...time.Duration) (times []time.Duration) {
		for _, s := range at {
			times = append(times, s*time.Second)
		}
		return times
	}
	for name, tc := range map[string]struct {
		placed, refused []time.Duration
		want            time.Duration
	}{
		"during an upgrade":              {seconds(10, 30), seconds(0, 14), 4 * time.Second},
		"on the way back":                {seconds(0, 14), seconds(10, 30), 4 * time.Second},
		"one version after the other":    {seconds(10, 30), seconds(0, 9), 0},
		"one version that never answers": {seconds(10, 30), nil, 0},
	} {
		if got := (&traffic{placed: tc.placed, refused: tc.refused}).bothAnswered(); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}
