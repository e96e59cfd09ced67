package mutator

import "testing"

func TestAnnotationErrorsBecomeDenials(t *testing.T) {
	const remedy = `; write {"key": "<node label>", "even": "<value for even ordinals>", "odd": "<value for odd ordinals>"}` +
		` in the StatefulSet's pod template`
	for sentence, c := range map[string]struct{ text, reason, problem string }{
		"no JSON is malformed":       {`{`, "AnnotationMalformed", `it is not valid JSON: read JSON at byte 1: expected a string: unexpected EOF`},
		"wrong content is invalid":   {`{"key":"k"}`, "AnnotationInvalid", `field "even" is missing`},
		"an empty text is malformed": {``, "AnnotationMalformed", `it is not valid JSON: read JSON at byte 0: expected a value: unexpected EOF`},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := podOf("web", "web-1")
			p.annotation = []byte(c.text)
			compareDecisions(t, decision{outcome: denied, statefulSet: "web", denial: &denial{
				reason: c.reason, field: "metadata.annotations[custom-node-selector]", cause: "FieldValueInvalid",
				message: "annotation custom-node-selector: " + c.problem + remedy,
			}}, decide(creationOf(p), Settings{}))
		})
	}
}
