package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// appendRanges reads an index set in the notation of a Job's
// status.succeededIndexes, numbers and inclusive ranges: "1-2,5". Ranges stay
// ranges: "0-2147483647" costs no more than "0".
func appendRanges(dst []indexRange, set, value string) ([]indexRange, error) {
	for part := range strings.SplitSeq(set, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := decimal(from)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = decimal(to); err != nil {
				return nil, err
			}
		}
		if last < first {
			return nil, fmt.Errorf("the range %s runs backwards", part)
		}
		dst = append(dst, indexRange{first, last, value, set})
	}
	return dst, nil
}

// sortRanges puts ranges in order, and returns the first two that overlap.
func sortRanges(ranges []indexRange) (a, b *indexRange) {
	slices.SortStableFunc(ranges, func(a, b indexRange) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(ranges); i++ {
		if ranges[i].first <= ranges[i-1].last {
			return &ranges[i-1], &ranges[i]
		}
	}
	return nil, nil
}
