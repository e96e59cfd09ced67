package mutator

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// encode returns the AdmissionReview that answers r. Without a change there is
// neither a patch nor a patchType: an empty patch is an error to the API server.
func encode(r *review, d *decision) []byte {
	if d.outcome == denied {
		return encodeDenial(r, d.denial)
	}
	answer := make([]byte, 0, 384+len(r.uid)+base64.StdEncoding.EncodedLen(len(d.patch)))
	answer = append(answer, `{"kind":"`+reviewKind+`","apiVersion":"`+reviewAPIVersion+`","response":{"uid":"`...)
	answer = appendEscaped(answer, r.uid)
	answer = append(answer, `","allowed":true`...)
	if d.outcome != ignored {
		answer = appendAudit(answer, d)
	}
	if d.outcome == placed {
		answer = append(answer, `,"patch":"`...)
		answer = base64.StdEncoding.AppendEncode(answer, d.patch)
		answer = append(answer, `","patchType":"JSONPatch"`...)
	}
	return append(answer, "}}"...)
}

// Keys of the audit annotations. The API server puts the webhook's name before them.
const (
	auditOrdinal   = "ordinal"
	auditRule      = "rule"
	auditPlacement = "placement"
	auditDenied    = "denied"
)

// appendAudit tells the API server's audit log how the pod was placed: its ordinal, the forms of the rules, and what they gave.
// Neither needs escapes: they are digits, names of fields, and labels.
func appendAudit(answer []byte, d *decision) []byte {
	answer = append(answer, `,"auditAnnotations":{"`+auditOrdinal+`":"`...)
	answer = strconv.AppendInt(answer, int64(d.ordinal), 10)
	answer = append(answer, `","`+auditRule+`":"`...)
	answer = append(answer, d.forms...)
	answer = append(answer, `","`+auditPlacement+`":"`...)
	for keys, values, more := d.key, d.value, true; more; {
		var key, value string
		key, keys, more = strings.Cut(keys, ",")
		value, values, _ = strings.Cut(values, ",")
		answer = append(answer, key...)
		answer = append(answer, '=')
		answer = append(answer, value...)
		if more {
			answer = append(answer, ',')
		}
	}
	return append(answer, `"}`...)
}

func encodeDenial(r *review, d *denial) []byte {
	return mustMarshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: reviewAPIVersion, Kind: reviewKind},
		Response: &admissionv1.AdmissionResponse{
			UID:              types.UID(r.uid),
			Result:           d.status(clip(r.pod.name, maxName)),
			AuditAnnotations: map[string]string{auditDenied: d.reason},
		},
	})
}

// mustMarshal encodes strings and structures of strings, which cannot fail.
func mustMarshal(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}
