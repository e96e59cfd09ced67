package rotator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Annotations on the certificate Secret. They hold no secrets.
const (
	// recordAnnotation holds the record of the last step, as JSON.
	recordAnnotation = "sts-webhook.custom-system/rotation"
	// requestAnnotation holds what an operator asked for, as JSON.
	requestAnnotation = "sts-webhook.custom-system/rotate"
)

// record says when the last step was taken, and which CAs it left. Its At orders
// the states of the Secret: of two, the later one is the fleet's. Its CAs bind it
// to the data beside it, so that a foreign CA put under an existing record cannot
// pass for a later step.
type record struct {
	Step     step      `json:"step,omitempty"` // the last one taken; for people
	At       time.Time `json:"at"`
	StagedAt time.Time `json:"stagedAt,omitzero"` // when other was staged
	Overlap  duration  `json:"overlap,omitzero"`  // overlap of the rotation under way
	CAs      []string  `json:"cas"`               // as ring.ids
}

// request is an operator's wish. A wish is done when a CA was staged after it.
type request struct {
	RotateAt       time.Time `json:"rotateAt,omitzero"`       // re-key, without a lost request
	DistrustBefore time.Time `json:"distrustBefore,omitzero"` // drop every CA older than this, now
}

// parseRecord returns the zero record, older than any other, for a text that
// is missing or damaged: it is then repaired like any other damage.
func parseRecord(text string) record {
	var r record
	if json.Unmarshal([]byte(text), &r) != nil {
		return record{}
	}
	return r
}

// of returns r if it was written for a Secret with these CAs, else the zero record.
func (r record) of(cas []string) record {
	if !slices.Equal(r.CAs, cas) {
		return record{}
	}
	return r
}

// parseRequest returns an error for a text that no version of us wrote; an
// operator wants to know. The empty text asks for nothing.
func parseRequest(text string) (request, error) {
	var q request
	if text == "" {
		return q, nil
	}
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return request{}, fmt.Errorf("parse annotation %s: %w", requestAnnotation, err)
	}
	return q, nil
}

// encode returns v as JSON; record and request always encode.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// duration reads and writes as time.Duration prints.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}
