package plan

import (
	"strings"
	"testing"
)

func TestIndexSet(t *testing.T) {
	for want, ordinals := range map[string][]int32{
		"": nil, "3": {3}, "0-1": {0, 1}, "0,2-4,7": {0, 2, 3, 4, 7}, "2147483646-2147483647": {2147483646, 2147483647},
	} {
		if got := IndexSet(ordinals); got != want {
			t.Errorf("%v: got %q, want %q", ordinals, got, want)
		}
	}
	var even []int32
	for i := range int32(100) {
		even = append(even, 2*i)
	}
	if got := IndexSet(even); !strings.HasSuffix(got, ",38 and 80 more") {
		t.Errorf("got %q", got)
	}
}
