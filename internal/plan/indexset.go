package plan

import (
	"fmt"
	"strconv"
	"strings"
)

// maxRanges bounds the ranges of an index set in a message.
const maxRanges = 20

// IndexSet writes ascending ordinals in the notation of the rules: "0-2,5"; of many ranges
// only the first ones.
func IndexSet(ordinals []int32) string {
	var parts []string
	for i := 0; i < len(ordinals); {
		first := i
		for i++; i < len(ordinals) && ordinals[i] == ordinals[i-1]+1; i++ {
		}
		part := strconv.Itoa(int(ordinals[first]))
		if i-1 > first {
			part += "-" + strconv.Itoa(int(ordinals[i-1]))
		}
		if parts = append(parts, part); len(parts) == maxRanges && i < len(ordinals) {
			return strings.Join(parts, ",") + fmt.Sprintf(" and %d more", len(ordinals)-i)
		}
	}
	return strings.Join(parts, ",")
}
