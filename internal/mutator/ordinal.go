package mutator

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ordinalOf returns the ordinal of the pod in the StatefulSet: the number that
// follows "<statefulSet>-" in the pod's name. The StatefulSet controller writes
// a plain decimal that fits an int32, so anything else was named by somebody
// else, and guessing could bind a volume to the wrong node.
func ordinalOf(podName, statefulSet string) (int32, error) {
	digits, ok := strings.CutPrefix(podName, statefulSet+"-")
	if !ok {
		return 0, fmt.Errorf("its name does not start with %s", quote(statefulSet+"-"))
	}
	if digits == "" {
		return 0, fmt.Errorf("no ordinal follows %s", quote(statefulSet+"-"))
	}
	for i := range len(digits) {
		if c := digits[i]; c < '0' || c > '9' {
			return 0, fmt.Errorf("%s is not a decimal number", quote(digits))
		}
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%s has a leading zero", quote(digits))
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is above %d", quote(digits), math.MaxInt32)
	}
	return int32(n), nil
}

// isStatefulSet tells whether the owner is a StatefulSet of Kubernetes or of
// OpenKruise (which names pods alike), in any version of their APIs.
func (o owner) isStatefulSet() bool {
	group, version, _ := strings.Cut(o.apiVersion, "/")
	return o.kind == "StatefulSet" && version != "" && (group == "apps" || group == "apps.kruise.io")
}
