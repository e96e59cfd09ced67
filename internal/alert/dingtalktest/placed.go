package dingtalktest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ordinalRange is one part of a list of ordinals, in English and in Chinese.
var ordinalRange = regexp.MustCompile(`^(?:(even|odd|偶数|奇数) )?(\d+)(?:–(\d+))?(?: ?[(（](?:step|步长) (\d+)[)）])?$`)

// Placed reads the placed pods from a message's text: "namespace/pod" to
// "key=value", one entry per ordinal. It knows the text's format only, not the
// code that writes it. A pod twice in one message is an error.
func Placed(text string) (map[string]string, error) {
	out := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		left, selector, found := strings.Cut(line, " → ")
		item, isItem := strings.CutPrefix(left, "- ")
		if !found || !isItem {
			continue
		}
		set, list, found := strings.Cut(item, " ")
		if !found {
			return nil, fmt.Errorf("read placed pods: no ordinals in %q", line)
		}
		for _, part := range strings.Split(strings.ReplaceAll(list, "、", ", "), ", ") {
			ordinals, err := expand(part)
			if err != nil {
				return nil, fmt.Errorf("read placed pods in %q: %w", line, err)
			}
			for _, ordinal := range ordinals {
				pod := set + "-" + strconv.Itoa(ordinal)
				if _, twice := out[pod]; twice {
					return nil, fmt.Errorf("read placed pods: %s stands twice in one message", pod)
				}
				out[pod] = selector
			}
		}
	}
	return out, nil
}

// expand returns the ordinals of one part, such as 7, 0–5 or odd 1–9.
func expand(part string) ([]int, error) {
	m := ordinalRange.FindStringSubmatch(part)
	if m == nil {
		return nil, fmt.Errorf("%q is no list of ordinals", part)
	}
	from, _ := strconv.Atoi(m[2])
	to, step := from, 1
	if m[3] != "" {
		to, _ = strconv.Atoi(m[3])
	}
	switch {
	case m[4] != "":
		step, _ = strconv.Atoi(m[4])
	case m[1] != "":
		step = 2
		if odd := m[1] == "odd" || m[1] == "奇数"; odd != (from%2 == 1) {
			return nil, fmt.Errorf("%q has the wrong parity", part)
		}
	}
	if to < from || step < 1 || (to-from)%step != 0 {
		return nil, fmt.Errorf("%q is no range", part)
	}
	var out []int
	for n := from; n <= to; n += step {
		out = append(out, n)
	}
	return out, nil
}
