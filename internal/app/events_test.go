package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sts-mutating-webhook/internal/alert"
	"sts-mutating-webhook/internal/mutator"
	"sts-mutating-webhook/internal/rotator"
)

// A13: one style of reasons, and each has words in the alerts.
func TestA13EveryReasonIsOneStyleAndHasWords(t *testing.T) {
	camelCase := regexp.MustCompile(`^([A-Z][A-Za-z]+)+$`)
	for _, list := range []struct {
		of         string
		have, know []string
	}{
		{"mutator.Reasons", mutator.Reasons(), append(alert.Reasons(), mutator.ReasonNameInvalid)}, // which no observer hears
		{"rotator.Reasons", rotator.Reasons(), alert.Reasons()},
		{"mutator.Codes", mutator.Codes(), alert.Codes()},
	} {
		for _, reason := range list.have {
			if !camelCase.MatchString(reason) {
				t.Errorf("%s: %q is not CamelCase", list.of, reason)
			}
			if !slices.Contains(list.know, reason) {
				t.Errorf("%s: alerts have no words for %q", list.of, reason)
			}
		}
	}
	for _, cause := range rotator.Causes() {
		if !slices.Contains(alert.Causes(), cause) {
			t.Errorf("alerts have no words for the cause %q", cause)
		}
	}
	have := slices.Concat(mutator.Reasons(), rotator.Reasons(), []string{alert.PodPlaced, alert.PodsWaiting, alert.PodsReleased, alert.Started, alert.Stopping, alert.Recovered, alert.MoreDenied})
	for _, reason := range alert.Reasons() {
		if !slices.Contains(have, reason) {
			t.Errorf("alerts have words for %q, which nothing reports", reason)
		}
	}
}

// A13: the documents name no reason that does not exist.
func TestA13DocumentsNameRealReasons(t *testing.T) {
	known := slices.Concat(mutator.Reasons(), rotator.Reasons(), alert.Reasons(), mutator.Codes())
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`((?:Trust|Clock|Write|Repair|CA|Certificate|Secret|Annotation|Ordinal|Pod|Field|Name|NoS)[A-Z][A-Za-z]+)`")
	found := 0
	for _, file := range append(files, "../../README.md", "../../README.zh-CN.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, old := range []string{"annotation_invalid", "annotation_malformed", "annotation_missing", "ordinal_invalid", "pod_index_mismatch", "no_statefulset", "InvalidAnnotation", "NoOwner"} {
			if strings.Contains(string(text), old) {
				t.Errorf("%s names %s", file, old)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			found++
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s names %s, which nothing reports", file, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no document names a reason, so this proves nothing")
	}
}
