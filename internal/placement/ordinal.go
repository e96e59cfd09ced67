package placement

import (
	"fmt"
	"strconv"
	"strings"

	"sts-mutating-webhook/internal/printable"
)

// Ordinal returns the ordinal of the pod in the StatefulSet: the number that
// follows "<statefulSet>-" in the pod's name. The StatefulSet controller writes
// a plain decimal that fits an int32, so anything else was named by somebody
// else, and guessing could bind a volume to the wrong node.
func Ordinal(podName, statefulSet string) (int32, error) {
	digits, ok := strings.CutPrefix(podName, statefulSet+"-")
	if !ok {
		return 0, fmt.Errorf("its name does not start with %s", printable.Quote(statefulSet+"-"))
	}
	if digits == "" {
		return 0, fmt.Errorf("no ordinal follows %s", printable.Quote(statefulSet+"-"))
	}
	return decimal(digits)
}

// decimal reads a number from 0 to MaxOrdinal without sign or leading zero.
func decimal(digits string) (int32, error) {
	if digits == "" {
		return 0, fmt.Errorf("%s is not a decimal number", printable.Quote(digits))
	}
	for i := range len(digits) {
		if c := digits[i]; c < '0' || c > '9' {
			return 0, fmt.Errorf("%s is not a decimal number", printable.Quote(digits))
		}
	}
	if digits[0] == '0' && len(digits) > 1 {
		return 0, fmt.Errorf("%s has a leading zero", printable.Quote(digits))
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is above %d", printable.Quote(digits), MaxOrdinal)
	}
	return int32(n), nil
}

// IsStatefulSet reports whether an owner reference names a StatefulSet of
// Kubernetes or of OpenKruise (which names pods alike), in any version of their
// APIs.
func IsStatefulSet(apiVersion, kind string) bool {
	group, version, _ := strings.Cut(apiVersion, "/")
	return kind == "StatefulSet" && version != "" && (group == "apps" || group == "apps.kruise.io")
}
