package plan

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

// rule is one object of the annotation.
type rule = map[string]any

// randomValue is a value of the label, now and then one that no node has.
func randomValue(r *rand.Rand, key string) string {
	switch {
	case chance(r, 3):
		return "nowhere"
	case key == "host":
		return fmt.Sprintf("deb-%d", r.IntN(nodeCount+10))
	case key == "rack":
		return fmt.Sprintf("r%d", r.IntN(racks+2))
	}
	return pick(r, labelValues[key])
}

// randomRule is a rule for a key; first and replicas are the ordinals in use.
func (s *sample) randomRule(r *rand.Rand, key string, first, replicas int) rule {
	value := func() string { return randomValue(r, key) }
	made := rule{"key": key}
	forms := []string{"even/odd", "values", "ordinals"}
	if key == "host" || key == "rack" {
		forms = append(forms, "value", "value", "value")
	}
	form := pick(r, forms)
	switch form {
	case "even/odd":
		made["even"], made["odd"] = value(), value()
	case "values":
		values := make([]string, 1+r.IntN(5))
		for i := range values {
			values[i] = value()
		}
		made["values"] = values
	case "ordinals":
		sets := map[string]string{}
		for n := first; n < first+replicas+2; {
			width := r.IntN(3)
			if !chance(r, 15) {
				sets[indexSet(n, n+width)] = value()
			}
			n += width + 1
		}
		if len(sets) == 0 {
			sets["0"] = value()
		}
		made["ordinals"] = sets
		if chance(r, 65) {
			made["default"] = value()
		}
	case "value":
		made["value"] = map[string]string{"host": "deb-$(ordinal)", "rack": "r$(ordinal)"}[key]
		if chance(r, 50) {
			made["start"] = r.IntN(40)
		}
	}
	s.is(form)
	if chance(r, 30) {
		made["whenUnsatisfiable"] = "ScheduleAnyway"
		s.is("ScheduleAnyway")
	} else if chance(r, 20) {
		made["whenUnsatisfiable"] = "DoNotSchedule"
	}
	if chance(r, 40) {
		made["tolerate"] = "NoSchedule"
		s.is("tolerate")
	}
	return made
}

func indexSet(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// randomRules is an annotation without a mistake, save for ordinals without a value.
func (s *sample) randomRules(r *rand.Rand, first, replicas int) string {
	keys := append(slices.Clone(labelKeys), "host", "rack", "host", "rack")
	r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	count := 1
	if chance(r, 40) {
		count = 2 + r.IntN(2)
	}
	var rules []rule
	used := map[string]bool{}
	for _, key := range keys {
		if len(rules) < count && !used[key] {
			rules = append(rules, s.randomRule(r, key, first, replicas))
			used[key] = true
		}
	}
	var made any = rules
	if len(rules) == 1 && chance(r, 80) {
		made = rules[0]
	}
	if len(rules) > 1 {
		s.is("several rules")
	}
	text, err := json.Marshal(made)
	if err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return string(text)
}

// mistakes are annotations that the webhook refuses.
var mistakes = []string{
	`{"key": "zone", "even": "a"`, ``, `[]`, `null`, `{}`, `{"key": "zone"}`,
	`{"key": "zone", "even": "a"}`, `{"key": "zone", "evn": "a", "odd": "b"}`, `{"key": "zone", "even": 1, "odd": "b"}`,
	`{"key": "", "even": "a", "odd": "b"}`, `{"key": "zone", "even": "not a label", "odd": "b"}`, `{"key": "-", "values": ["a"]}`,
	`{"key": "zone", "values": []}`, `{"key": "zone", "values": ["a"], "even": "a", "odd": "b"}`,
	`[{"key": "zone", "values": ["a"]}, {"key": "zone", "values": ["b"]}]`,
	`{"key": "zone", "ordinals": {"0-3": "a", "2": "b"}}`, `{"key": "zone", "ordinals": {"3-1": "a"}, "default": "b"}`,
	`{"key": "host", "value": "deb"}`, `{"key": "host", "value": "deb-$(ordinal)", "start": -1}`, `{"key": "host", "value": "deb-$(ordinal)", "start": 2147483647}`,
	`{"key": "zone", "values": ["a"], "whenUnsatisfiable": "Never"}`, `{"key": "zone", "values": ["a"], "tolerate": "NoExecute"}`,
}
