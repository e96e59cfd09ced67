package alert

import (
	"strings"
	"unicode"
)

// broken follows a sign that must not act: a zero-width space keeps the reader's
// view and breaks the machine's pattern.
const broken = "\u200b"

// plain makes an untrusted text fit for one line of a message: valid UTF-8, no
// control, line or direction characters, no @ that could call somebody and no
// address that would become a link.
func plain(s string) string {
	return escape(s, func(rune) rune { return 0 })
}

// escapeMarkdown is plain for a markdown message. DingTalk's renderer is not specified
// and may show a backslash as such, so the signs of markdown and HTML are replaced by
// their full-width forms, which mean nothing to it. An underscore inside a word is no
// sign, and label values have them.
func escapeMarkdown(s string) string {
	return escape(s, func(r rune) rune {
		if strings.ContainsRune("\\`*[]<>~&#|", r) {
			return r - '!' + '！'
		}
		return 0
	})
}

// escape maps each rune of s: control characters vanish or become a space, @ is
// broken, others are what instead says or, if that is 0, themselves.
func escape(s string, instead func(rune) rune) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		other := instead(r)
		switch {
		case r == '@' || r == '\uFF20': // the wide form calls people as well
			out.WriteRune(r)
			out.WriteString(broken)
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			out.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r): // Cf holds the direction marks
		case other != 0:
			out.WriteRune(other)
		default:
			out.WriteRune(r)
		}
	}
	return strings.ReplaceAll(out.String(), "://", ":"+broken+"//")
}
