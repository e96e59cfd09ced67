// Package printable makes text of unknown origin fit for messages and logs.
package printable

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted bounds what a message repeats of a value, in bytes. A label value
// may have 63.
const maxQuoted = 80

// Quote returns text in double quotes, at most 80 bytes of it, everything
// unprintable escaped.
func Quote(text string) string {
	if short := Clip(text, maxQuoted); len(short) < len(text) {
		return strconv.Quote(short + "…")
	}
	return strconv.Quote(text)
}

// Clip returns the start of text, at most limit bytes, whole runes only.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}

// Text returns text as it is if all of it can be printed; else in double quotes, everything unprintable escaped. Nothing in it
// can move a terminal's cursor or end a line.
func Text(text string) string {
	for i, r := range text {
		if !strconv.IsPrint(r) || r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) {
			return strconv.Quote(text)
		}
	}
	return text
}
